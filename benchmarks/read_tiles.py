"""How fast are tiles read, next to OpenSlide, tiffslide, TIAToolbox's reader and the bare decoder?

    python -m benchmarks.read_tiles [--turns 5] [--quick]

Slides are real tissue in a tiled pyramid: JPEG of 8192² in tiles of 256 and 240 pixels, JPEG2000 of 4096². Tiles of
512 and 1024 pixels are read on the stored tiles' corners (aligned), off them, and from 0.5 µm at 0.75 (resampled:
each rival by its own means, so pixels differ), at 1.5 (averaged, three by three) and at 0.25 (doubled). "raw" decodes
all stored tiles that such a read touches, one after the other, and throws them away. Rivals take turns on the same
places, each after one read that is not counted; MP/s are the median over the turns by the clock, of pixels asked for,
and ratios the median of the turns' ratios by seconds of processor time, which hardly depend on what else the machine
does. With two threads, two threads call a rival; our JPEG reader is called by one and has two of its own. Peers that
cannot be had leave their columns empty.
"""

from __future__ import annotations

import functools
import itertools
import json
import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from benchmarks.options import make_parser
from benchmarks.peers import peer_python
from benchmarks.processes import ROOT
from benchmarks.report import Row, print_table, write_result
from benchmarks.rivals.readers import Request, open_ours, read_openslide, read_ours, read_raw
from benchmarks.rivals.turns import Corner, Turn, time_reads
from benchmarks.slides import MPP, find_slide

JPEG, JPEG2000 = "jpeg", 33005
SIDES = {JPEG: 8192, JPEG2000: 4096}
MPPS = {"resampled": 0.75, "averaged": 1.5, "doubled": 0.25}
READS = 9
PEERS = ("tiffslide", "tiatoolbox")
RIVALS = ("raw", "openslide", *PEERS)
Rival = Callable[[Sequence[Corner]], Turn]


@dataclass(frozen=True)
class Case:
    """One slide, one size and place of the tiles that are asked for."""

    codec: str | int
    stored: int
    tile: int
    place: str
    threads: int

    @property
    def request(self) -> Request:
        """The tiles as readers are asked for them."""
        path = find_slide(SIDES[self.codec], tile=self.stored, compression=self.codec)
        return Request(path, self.tile, MPPS.get(self.place, MPP))

    def choose_corners(self, turn: int) -> list[Corner]:
        """Scattered places, new ones each turn, so that no rival profits from what another turn left in a cache."""
        rng = np.random.default_rng(turn)
        places = rng.integers(0, (SIDES[self.codec] - self.request.side) // self.stored, (READS, 2)) * self.stored
        shift = self.stored // 2 + 3 if self.place == "unaligned" else 0
        return [(int(x) + shift, int(y) + shift) for x, y in places]


def main() -> None:
    """Measure all cases, print the table and write the result."""
    parser = make_parser("tiles of 512 in one thread, one turn")
    parser.add_argument("--turns", type=int, default=5, help="of each rival")
    options = parser.parse_args()
    cases = [case for case in list_cases() if not options.quick or (case.tile, case.threads) == (512, 1)]
    rows = [measure_case(case, 1 if options.quick else options.turns) for case in cases]
    print_table("tiles read", rows)
    print(write_result("read_tiles", rows, options.quick))


def list_cases() -> Iterator[Case]:
    """All slides, tile sizes, places and threads."""
    for tile, threads in itertools.product((512, 1024), (1, 2)):
        for stored, place in itertools.product((256, 240), ("aligned", "unaligned")):
            yield Case(JPEG, stored, tile, place, threads)
        for place in MPPS:
            yield Case(JPEG, 240, tile, place, threads)
        for place in ("aligned", "unaligned", "resampled"):
            yield Case(JPEG2000, 240, tile, place, threads)


def measure_case(case: Case, turns: int) -> Row:
    """Megapixels a second of each rival, and how many times their work ours does in a second of processor."""
    with ExitStack() as stack:
        rivals = start_rivals(case, stack)
        taken = take_turns(rivals, [case.choose_corners(turn) for turn in range(turns)])
    place = {
        "codec": "JPEG" if case.codec == JPEG else "JPEG2000",
        "stored tile": case.stored,
        "tile": case.tile,
        "place": case.place,
        "threads": case.threads,
    }
    return {**place, **summarize_turns(taken, (READS - 1) * case.tile**2 / 1e6)}


def start_rivals(case: Case, stack: ExitStack) -> dict[str, Rival]:
    """All rivals that can be had, ready to take turns."""
    request, threads = case.request, case.threads
    reader = open_ours(request, threads)
    ours, openslide = read_ours(request, reader), read_openslide(request)
    check_pixels(case, ours, openslide)
    reads = {"wsiparse": ours, "raw": read_raw(request), "openslide": openslide}
    callers = {"wsiparse": 1 if case.codec == JPEG else threads}
    rivals: dict[str, Rival] = {
        name: functools.partial(time_reads, read, callers=callers.get(name, threads)) for name, read in reads.items()
    }
    for name in PEERS:
        words = (name, request.path, request.tile, request.mpp, threads)
        if command := peer_python("benchmarks.rivals.peer_reader", *words):
            rivals[name] = stack.enter_context(talk_to(command))
    return rivals


def check_pixels(case: Case, ours: Callable[[Corner], object], theirs: Callable[[Corner], object]) -> None:
    """Stop where ours differ from OpenSlide's, which they must not unless they are resampled."""
    for corner in case.choose_corners(turn=99)[:2]:
        if case.place not in MPPS and not np.array_equal(np.asarray(ours(corner)), np.asarray(theirs(corner))):
            raise SystemExit(f"{case}: pixels differ from OpenSlide's")


@contextmanager
def talk_to(command: Sequence[str]) -> Iterator[Rival]:
    """A rival in a process of its own, which does a turn for each line."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, text=True, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        ask = functools.partial(ask_turn, process)
        ask([(0, 0)] * 2)  # imports, and opens the slide
        yield ask
        process.communicate()


def ask_turn(process: subprocess.Popen[str], corners: Sequence[Corner]) -> Turn:
    """Send the places of a turn and take the answer."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps(corners) + "\n")
    process.stdin.flush()
    return Turn(**json.loads(process.stdout.readline()))


def take_turns(rivals: dict[str, Rival], turns: Sequence[Sequence[Corner]]) -> dict[str, list[Turn]]:
    """All rivals' turns, each turn in another order."""
    taken: dict[str, list[Turn]] = {name: [] for name in rivals}
    for number, corners in enumerate(turns):
        names = list(rivals)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            taken[name].append(rivals[name](corners))
    return taken


def summarize_turns(taken: dict[str, list[Turn]], megapixels: float) -> Row:
    """Median speeds and ratios; None for who took no turn."""
    speeds: dict[str, float | None] = {f"{name} MP/s": None for name in ("wsiparse", *RIVALS)}
    ratios: dict[str, float | None] = {f"× {name}": None for name in RIVALS}
    for name, turns in taken.items():
        speeds[f"{name} MP/s"] = round(statistics.median(megapixels / turn.seconds for turn in turns), 2)
        if name in RIVALS:
            pairs = zip(turns, taken["wsiparse"], strict=True)
            ratio = statistics.median(own.processor_seconds / ours.processor_seconds for own, ours in pairs)
            ratios[f"× {name}"] = round(ratio, 2)
    return {**speeds, **ratios}


if __name__ == "__main__":
    main()

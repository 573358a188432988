"""How long does a whole slide take, next to TIAToolbox and to a loop written by hand? The same tiny model in all.

    python -m benchmarks.whole_slide [--sides 8192,16384,32768] [--turns 5,3,1] [--quick]

Slides are real tissue as a tiled JPEG pyramid: one full of it, parsed whole, and one with a quarter of it, where each
contender finds the tissue its own way. Each contender runs in a process of its own, in turns: `seconds` are those of
its work, after its imports; processor seconds and memory those of the whole process with its children. "probabilities"
is where all maps at full size are on disk, which is all that the others write; "everything" adds the pyramid, the label
map, the polygons and the summary. A ratio is the median of those of the turns. A contender that takes more than 90 % of
the free memory is stopped, and its row says where.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.options import make_parser, parse_numbers
from benchmarks.peers import ABSENT, peer_python
from benchmarks.processes import Cost, measure_command, own_python
from benchmarks.report import Row, print_table, write_result
from benchmarks.rivals.marks import read_marks
from benchmarks.slides import find_slide
from benchmarks.tiny_network import OVERLAP, TARGETS, TILE
from wsiparse.geometry import Region
from wsiparse.maps.canvas import list_canvases, read_region

OURS = ("wsiparse, probabilities", "wsiparse, everything")
COLUMNS = ("seconds", "processor_seconds", "peak_gb", "private_peak_gb", *(f"× {part}" for part in OURS))
MODULES = {"TIAToolbox": "tiatoolbox_run", "by hand": "by_hand"}
BLANK_SHARE = 0.25


@dataclass(frozen=True)
class Case:
    """A slide, and whether all of it is parsed."""

    side: int
    area: str

    @property
    def slide(self) -> Path:
        """Its file."""
        return find_slide(self.side, 1.0 if self.area == "full" else BLANK_SHARE)


@dataclass(frozen=True)
class Turn:
    """What a contender took in one turn."""

    seconds: float = 0.0
    processor_seconds: float = 0.0
    peak_gb: float = 0.0
    private_peak_gb: float = 0.0
    trouble: str = ""


def main() -> None:
    """Measure all slides and write the table."""
    options = parse_options()
    check_agreement()
    rows: list[Row] = []
    for side, turns in zip(options.sides, options.turns, strict=True):
        for area in ("full", "tissue"):
            rows += measure_case(Case(side, area), turns)
    print_table("whole slides", rows)
    print(write_result("whole_slide", rows, options.quick))


def parse_options() -> argparse.Namespace:
    """Sizes and turns; `--quick` is one small slide, twice."""
    parser = make_parser("one small slide, twice")
    parser.add_argument("--sides", type=parse_numbers, default=[8192, 16384, 32768], help="of the slides")
    parser.add_argument("--turns", type=parse_numbers, default=[5, 3, 1], help="for each of these")
    options = parser.parse_args()
    if options.quick:
        options.sides, options.turns = [4096], [2]
    return options


def measure_case(case: Case, turns: int) -> list[Row]:
    """One row a contender; they take turns, each turn in another order."""
    taken: dict[str, list[Turn]] = {name: [] for name in (*OURS, *MODULES)}
    for number in range(turns):
        contenders = ["wsiparse", *MODULES]
        for name in contenders[number % 3 :] + contenders[: number % 3]:
            for part, turn in take_turn(name, case):
                taken[part].append(turn)
    return [summarize(case, name, taken) for name in taken]


def take_turn(name: str, case: Case) -> Iterator[tuple[str, Turn]]:
    """One run of one contender; ours is told in two parts."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "out")
        arguments = (case.slide, output, case.area)
        if name == "wsiparse":
            yield from split_ours(measure_command(own_python("benchmarks.rivals.ours", *arguments, OVERLAP)))
            return
        start = peer_python if name == "TIAToolbox" else own_python
        command = start(f"benchmarks.rivals.{MODULES[name]}", *arguments)
        yield name, Turn(trouble=ABSENT) if command is None else tell(measure_command(command))


def split_ours(cost: Cost) -> Iterator[tuple[str, Turn]]:
    """Our run up to the last block, and to its end."""
    if cost.trouble:
        raise SystemExit(f"{cost.trouble}\n{cost.output}")
    yield OURS[0], tell(cost, "probabilities")
    yield OURS[1], tell(cost)


def tell(cost: Cost, mark: str = "ended") -> Turn:
    """A run up to a mark; of one that did not end well, how far it came."""
    if cost.trouble:
        return Turn(peak_gb=cost.peak_gb(), trouble=cost.trouble)
    marks = read_marks(cost.output)
    end = marks[mark]
    spent = cost.processor_seconds if mark == "ended" else end.processor_seconds
    until = cost.ended if mark == "ended" else end.time
    return Turn(end.time - marks["began"].time, spent, cost.peak_gb(until), cost.private_peak_gb(until))


def summarize(case: Case, name: str, taken: dict[str, list[Turn]]) -> Row:
    """Medians, and how many times as long as ours it took."""
    own = taken[name]
    trouble = next((turn.trouble for turn in own if turn.trouble), "")
    place = {"slide": f"{case.side}²", "area": case.area, "contender": name, "turns": len(own)}
    if trouble:
        return {
            **place,
            **dict.fromkeys(COLUMNS),
            "peak_gb": max(turn.peak_gb for turn in own) or None,
            "note": trouble,
        }
    ratios = {f"× {part}": compare([t.seconds for t in own], [t.seconds for t in taken[part]]) for part in OURS}
    values = {
        column: statistics.median(getattr(turn, column) for turn in own) for column in COLUMNS if column not in ratios
    }
    return {**place, **values, **ratios, "note": ""}


def compare(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """Median of the turns' ratios."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


def check_agreement() -> None:
    """Stop where the maps of ours and those by hand differ, away from the slide's edge, by more than rounding."""
    case = Case(2048, "full")
    with tempfile.TemporaryDirectory() as folder:
        ours, hand = Path(folder, "ours"), Path(folder, "hand")
        measure_command(own_python("benchmarks.rivals.ours", case.slide, ours, case.area, OVERLAP))
        measure_command(own_python("benchmarks.rivals.by_hand", case.slide, hand, case.area))
        canvas = list_canvases(ours / case.slide.stem / "parse.zarr")[0]
        inside = Region(TILE, TILE, TILE // 2, TILE // 2)
        theirs = np.memmap(hand / "probabilities.dat", np.uint8, "r", shape=(TARGETS, case.side, case.side))
        difference = np.abs(read_region(canvas, inside).astype(int) - theirs[(slice(None), *inside.slices)])
    if difference.max() > 1:
        raise SystemExit(f"maps differ by {difference.max()}/255")


if __name__ == "__main__":
    main()

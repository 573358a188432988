"""On one machine: what does Dask cost, does a second process pay, and what does glass cost?

    python -m benchmarks.one_machine [--side 2048] [--turns 3] [--quick]

Each row sets one way to run a slide beside another; both take turns, each in a process of its own, without imports and
the loading of weights, and `ratio` is the median of the turns' seconds of the first by those of the second.
"threads" is the default, one process; "processes" is `--workers 2`. The sleeping model leaves the processor free, as an
accelerator does; the default model shares the cores, so that a second process can win only what one left idle, and one
process is held to one thread for each multiplication as each of two is. A slide with 5 % tissue is one square of it
with glass around; the share of tiles says what the plan made of it. Such slides are larger, or a tile would be too
large a part of them, and have one turn: the ratio is far from 1.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.options import make_parser
from benchmarks.processes import measure_command, own_python
from benchmarks.report import Row, print_table, write_result
from benchmarks.rivals.engine import SLIDE
from benchmarks.rivals.marks import read_marks
from benchmarks.slides import find_slide
from benchmarks.tiny import SLEEP
from wsiparse.files import read_json

TINY = {"model": "benchmarks.tiny:build", "overlap": 64}
SLEEPING = {"model": "benchmarks.tiny:build_sleeping", "overlap": 16}
NUCLEI = {"targets": ["nuclei"], "block_tiles": 2}
"""Small blocks, so that two processes can share a small slide evenly."""
GLASS = "glass"
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
TISSUE = 0.05


@dataclass(frozen=True)
class Way:
    """One way to run a slide."""

    name: str
    slide: Path
    settings: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)


Pair = tuple[str, Way, Way]


def main() -> None:
    """Measure all pairs and write the table."""
    parser = make_parser("side 1024, one turn")
    parser.add_argument("--side", type=int, default=2048, help="of the default model's slides; others follow")
    parser.add_argument("--turns", type=int, default=3, help="of each pair")
    options = parser.parse_args()
    if options.quick:
        options.side, options.turns = 1024, 1
    rows = [compare(pair, 1 if pair[0] == GLASS else options.turns) for pair in list_pairs(options.side)]
    print_table("one machine", rows)
    print(write_result("one_machine", rows, options.quick))


def list_pairs(side: int) -> Iterator[Pair]:
    """A question, and the two ways that answer it."""
    one, large, small = find_slide(side), find_slide(2 * side), find_slide(side // 2)
    whole: dict[str, Any] = {"tissue": False}
    serial, two = {**whole, "cluster": "serial"}, {**whole, "workers": 2}
    for name, settings, slide in (("default model", NUCLEI, one), ("tiny model", TINY, large)):
        ways = (Way(f"{name}, threads", slide, settings | whole), Way(f"{name}, serial", slide, settings | serial))
        yield "Dask on one machine", *ways
    sleep = {SLEEP: "0.02"}
    yield (
        "second process",
        Way("sleeping model, threads", small, SLEEPING | whole, sleep),
        Way("sleeping model, processes", small, SLEEPING | two, sleep),
    )
    yield (
        "second process",
        Way("default model, threads", one, NUCLEI | whole, ONE_THREAD),
        Way("default model, processes", one, NUCLEI | two, ONE_THREAD),
    )
    for name, settings, size in (("default model", NUCLEI, 4 * side), ("tiny model", TINY, 8 * side)):
        islands = Way(f"{name}, 5 % tissue", find_slide(size, TISSUE), settings)
        yield GLASS, islands, Way(f"{name}, full", find_slide(size), settings | whole)


def compare(pair: Pair, turns: int) -> Row:
    """Seconds and tiles of two ways, and their ratio."""
    question, first, second = pair
    taken: dict[str, list[tuple[float, int]]] = {first.name: [], second.name: []}
    for number in range(turns):
        for way in (first, second) if number % 2 else (second, first):
            taken[way.name].append(run(way))
    pairs = zip(taken[first.name], taken[second.name], strict=True)
    return {
        "question": question,
        "first": first.name,
        "second": second.name,
        "turns": turns,
        "first seconds": statistics.median(seconds for seconds, _ in taken[first.name]),
        "second seconds": statistics.median(seconds for seconds, _ in taken[second.name]),
        "ratio": statistics.median(a / b for (a, _), (b, _) in pairs),
        "share of tiles": taken[first.name][0][1] / taken[second.name][0][1],
    }


def run(way: Way) -> tuple[float, int]:
    """Seconds from the slide's start to its end, and its tiles."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "out")
        arguments = ("whole", way.slide, output, json.dumps(way.settings))
        cost = measure_command(own_python("benchmarks.rivals.engine", *arguments), way.environment)
        if cost.trouble:
            raise SystemExit(f"{way.name}: {cost.trouble}\n{cost.output}")
        marks = read_marks(cost.output)
        tiles: int = read_json(output / SLIDE / "summary.json")["tiles"]
    return marks["ended"].time - marks["began"].time, tiles


if __name__ == "__main__":
    main()

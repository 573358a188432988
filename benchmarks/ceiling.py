"""How near does a run come to its model alone, and where does the rest go?

    python -m benchmarks.ceiling [--sides 4096,512,8192] [--turns 3,1,3] [--quick]

The default model, BiomedParse in its published size with seeded random weights, and a model that answers at once, each
on a slide of its own side. "alone" asks the model about the slide's tiles, which lie in memory; "whole" is the slide
end to end on the default cluster. Both leave out imports and the loading of weights. They take turns, each in a process
of its own, and `ratio` is the median of the turns' seconds alone by seconds whole. Stages are those of summary.json, in
the last turn: seconds of each task's stages added up, so that what runs side by side counts twice.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.options import make_parser, parse_numbers
from benchmarks.processes import measure_command, own_python
from benchmarks.prompts import write_random
from benchmarks.report import Row, print_table, write_result
from benchmarks.rivals.engine import SLIDE
from benchmarks.rivals.marks import read_marks
from benchmarks.slides import find_slide
from wsiparse.files import read_json
from wsiparse.models.network import PUBLISHED


@dataclass(frozen=True)
class Case:
    """A model and the slide it is asked about."""

    name: str
    settings: Mapping[str, Any]
    side: int
    turns: int


@dataclass(frozen=True)
class Turn:
    """Seconds, seconds of processor, and what the slide's summary says."""

    seconds: float
    processor_seconds: float
    summary: dict[str, Any]


def main() -> None:
    """Measure all models and write the tables."""
    options = parse_options()
    rows: list[Row] = []
    stages: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in list_cases(options, Path(folder)):
            row, parts = measure_case(case)
            rows.append(row)
            stages += parts
    print_table("the model alone, and a slide end to end", rows)
    print_table("where the seconds go", stages)
    print(write_result("ceiling", [*rows, *stages], options.quick))


def parse_options() -> argparse.Namespace:
    """Sides and turns of the three models' slides."""
    parser = make_parser("small slides, once, and no BiomedParse")
    parser.add_argument(
        "--sides",
        type=parse_numbers,
        default=[4096, 512, 8192],
        help="of each model's slide",
    )
    parser.add_argument("--turns", type=parse_numbers, default=[3, 1, 3], help="of each; 0 leaves it out")
    options = parser.parse_args()
    if options.quick:
        options.sides, options.turns = [1536, 512, 4096], [1, 0, 1]
    return options


def list_cases(options: argparse.Namespace, folder: Path) -> Iterator[Case]:
    """The models that have a turn."""
    sides, turns = options.sides, options.turns
    yield Case("wsiparse-open-1", {}, sides[0], turns[0])
    if turns[1]:
        weights = str(write_random(folder, PUBLISHED))
        yield Case("biomedparse", {"model": "biomedparse", "weights": weights}, sides[1], turns[1])
    yield Case("null", {"model": "benchmarks.tiny:build_null"}, sides[2], turns[2])


def measure_case(case: Case) -> tuple[Row, list[Row]]:
    """The ratio of one model, and the stages of its slide."""
    taken: dict[str, list[Turn]] = {"alone": [], "whole": []}
    for number in range(case.turns):
        for part in ("alone", "whole") if number % 2 else ("whole", "alone"):
            taken[part].append(take_turn(case, part))
    summary = taken["whole"][-1].summary
    row = {"model": case.name, "slide": f"{case.side}²", "tiles": summary["tiles"], "turns": case.turns}
    for part, turns in taken.items():
        row[f"{part} tiles/s"] = summary["tiles"] / statistics.median(turn.seconds for turn in turns)
    row["ratio"] = compare(taken, "seconds")
    row["processor ratio"] = compare(taken, "processor_seconds")
    row["model_wait_share"] = summary.get("model_wait_share")
    return row, list(list_stages(case, summary["seconds"]))


def compare(taken: Mapping[str, list[Turn]], field: str) -> float:
    """Median over the turns of alone by whole."""
    pairs = zip(taken["alone"], taken["whole"], strict=True)
    ratios: list[float] = [getattr(alone, field) / getattr(whole, field) for alone, whole in pairs]
    return statistics.median(ratios)


def take_turn(case: Case, part: str) -> Turn:
    """One process: the model alone, or a whole slide."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "out")
        settings = json.dumps({**case.settings, "tissue": False})
        arguments = (part, find_slide(case.side), output, settings)
        cost = measure_command(own_python("benchmarks.rivals.engine", *arguments))
        if cost.trouble:
            raise SystemExit(f"{case.name} {part}: {cost.trouble}\n{cost.output}")
        marks = read_marks(cost.output)
        began, ended = marks["began"], marks["ended"]
        summary = read_json(output / SLIDE / "summary.json") if part == "whole" else {}
    return Turn(ended.time - began.time, ended.processor_seconds - began.processor_seconds, summary)


def list_stages(case: Case, seconds: Mapping[str, float]) -> Iterator[Row]:
    """One row a stage, the longest first."""
    whole = sum(seconds.values())
    for stage, spent in sorted(seconds.items(), key=lambda pair: -pair[1]):
        yield {"model": case.name, "stage": stage, "seconds": spent, "share": spent / whole}


if __name__ == "__main__":
    main()

"""`wsiparse evaluate` and `compare`: how good the results are."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wsiparse.commands.ending import OK, console


def add_commands(commands: Any) -> None:
    """Add `evaluate` and `compare`."""
    _add_evaluate(commands)
    _add_compare(commands)


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser("evaluate", help="Dice and IoU against references")
    evaluate.add_argument("output", type=Path, help="folder of a run")
    evaluate.add_argument("--reference", type=Path, help="folder or manifest of references; else the run's manifest")
    evaluate.add_argument("--mapping", type=Path, help="TOML or JSON file: a laboratory's class names to targets")
    evaluate.add_argument("--hd95", action="store_true", help="distances between the borders of regions too; slower")
    evaluate.set_defaults(command=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    from wsiparse.evaluation.table import make_tables
    from wsiparse.runs.evaluate import evaluate_run
    from wsiparse.runs.run import open_run

    evaluation = evaluate_run(open_run(options.output), options.reference, options.mapping, options.hd95)
    for table in make_tables(evaluation):
        console.print(table, "")
    console.print(f"by slide: {options.output / 'evaluation.csv'}")
    return OK


def _add_compare(commands: Any) -> None:
    compare = commands.add_parser("compare", help="two evaluated runs over the same slides: which is better, how sure")
    compare.add_argument("first", type=Path, metavar="A", help="folder of a run")
    compare.add_argument("second", type=Path, metavar="B", help="folder of another")
    compare.add_argument("--metric", default="dice", help="dice (default), iou, pq, hd95_um or another column")
    compare.add_argument("-o", "--output", type=Path, help="JSON file with the same numbers and more")
    compare.set_defaults(command=_compare)


def _compare(options: argparse.Namespace) -> int:
    from wsiparse.runs.compare import compare_folders, write_comparison
    from wsiparse.runs.run import open_run
    from wsiparse.views.comparison import tabulate_comparison

    runs = (open_run(options.first), open_run(options.second))
    compared = compare_folders(*runs, options.metric)
    console.print(tabulate_comparison(compared))
    if left_out := max(part.left_out for part in compared):
        console.print(f"{left_out} slides left out: evaluated in one run alone, or without a {options.metric}")
    if options.output:
        write_comparison(options.output, runs, options.metric, compared)
        console.print(f"comparison: {options.output}")
    return OK

"""`wsiparse evaluate` and `compare`: how good the results are."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsiparse.commands.ending import OK, SOME_FAILED, console

if TYPE_CHECKING:
    from wsiparse.evaluation.measures import Evaluation
    from wsiparse.runs.run import Run


def add_commands(commands: Any) -> None:
    """Add `evaluate` and `compare`."""
    _add_evaluate(commands)
    _add_compare(commands)


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser("evaluate", help="Dice and IoU against references")
    evaluate.add_argument("output", type=Path, help="folder of a run")
    evaluate.add_argument(
        "--reference",
        type=Path,
        action="append",
        default=[],
        help="folder or manifest of references, else the run's manifest; given several times, one a reader: the first "
        "is scored against, and all are held against each other",
    )
    evaluate.add_argument("--mapping", type=Path, help="TOML or JSON file: a laboratory's class names to targets")
    evaluate.add_argument("--hd95", action="store_true", help="distances between the borders of regions too; slower")
    evaluate.set_defaults(command=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    from wsiparse.evaluation.table import make_tables
    from wsiparse.runs.evaluate import evaluate_run
    from wsiparse.runs.run import open_run
    from wsiparse.views.comparison import show_left_out

    run, first = open_run(options.output), next(iter(options.reference), None)
    evaluation = evaluate_run(run, first, options.mapping, options.hd95)
    for table in make_tables(evaluation):
        console.print(table, "")
    show_left_out(console, evaluation)
    left_out = bool(evaluation.refused or evaluation.unused)
    if len(options.reference) > 1:
        left_out |= _compare_readers(run, options, evaluation)
    console.print(f"by slide: {options.output / 'evaluation.csv'}")
    return SOME_FAILED if left_out else OK


def _compare_readers(run: Run, options: argparse.Namespace, evaluation: Evaluation) -> bool:
    """Print how far the readers agree, and return whether a file or slide could not be used for it."""
    from wsiparse.runs.agreement import compare_readers
    from wsiparse.views.comparison import show_agreement

    compared = compare_readers(run, options.reference, options.mapping)
    show_agreement(console, compared, evaluation)
    return bool(compared.refused or compared.unused)


def _add_compare(commands: Any) -> None:
    compare = commands.add_parser("compare", help="two evaluated runs over the same slides: which is better, how sure")
    compare.add_argument("first", type=Path, metavar="A", help="folder of a run")
    compare.add_argument("second", type=Path, metavar="B", help="folder of another")
    compare.add_argument("--metric", default="dice", help="dice (default), iou, pq, hd95_um or another measure")
    compare.add_argument("-o", "--output", type=Path, help="JSON file with the same numbers and more")
    compare.add_argument("--page", type=Path, help="HTML file with the same, and gains drawn against irregular shape")
    compare.set_defaults(command=_compare)


def _compare(options: argparse.Namespace) -> int:
    from wsiparse.runs.compare import RunsComparison, write_comparison
    from wsiparse.runs.run import open_run
    from wsiparse.views.comparison import tabulate_comparison
    from wsiparse.views.comparison_page import write_comparison_page

    compared = RunsComparison(open_run(options.first), open_run(options.second), options.metric)
    console.print(tabulate_comparison(compared.targets))
    reasons = f"evaluated in one run alone, or without a {options.metric}"
    for part in [part for part in compared.targets if part.left_out]:
        console.print(f"left out of {part.target}: {part.left_out} of the slides, {reasons}")
    for line in compared.differences:
        console.print(line)
    if options.output:
        write_comparison(options.output, compared)
        console.print(f"comparison: {options.output}")
    if options.page:
        write_comparison_page(options.page, compared)
        console.print(f"page: {options.page}")
    return OK

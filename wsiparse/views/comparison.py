"""Runs and readers side by side in a terminal, and what of them could not be compared."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from wsiparse.evaluation.measures import Evaluation
from wsiparse.runs.agreement import ReaderAgreement, ReadersComparison
from wsiparse.runs.compare import TargetComparison
from wsiparse.views.tables import make_table


def tabulate_comparison(comparisons: Sequence[TargetComparison]) -> Table:
    """One row a target: both means, their difference with its interval, p of Wilcoxon (ranks) and of Student (mean)."""
    table = make_table("target", "n ", "A ", "B ", "B - A ", "95 % ", "p ranks ", "p mean ")
    for part in comparisons:
        mean = part.comparison.mean
        interval = "–" if math.isnan(mean.low) else f"{mean.low:+.3f}…{mean.high:+.3f}"
        tests = (show_p(part.comparison.wilcoxon_p), show_p(part.comparison.t_p))
        values = (show_number(part.first), show_number(part.second), show_number(mean.value, "+.3f"), interval, *tests)
        table.add_row(part.target, str(part.slides), *values)
    return table


def tabulate_agreement(agreements: Sequence[ReaderAgreement]) -> Table:
    """One row a target: the mean Dice of readers with each other, of the model with them, and of each with all."""
    readers = agreements[0].readers if agreements else ()
    table = make_table("target", "readers ", "model ", *(f"{reader} " for reader in readers[1:]))
    for part in agreements:
        each = [part.agreement.compare_reader(n) for n in range(1, len(readers))]
        table.add_row(part.target, *(show_number(value) for value in (part.among_readers, part.of_model, *each)))
    return table


def show_left_out(console: Console, evaluation: Evaluation) -> None:
    """A line for each slide that was not compared, each reference of no slide, and each remark on a reference."""
    for slide, remarks in evaluation.remarks.items():
        console.print(f"reference of {slide}: {'; '.join(remarks)}")
    for slide, message in evaluation.refused.items():
        console.print(f"not compared: {slide}: {message}")
    for message in evaluation.unused:
        console.print(f"not used: {message}")


def show_agreement(console: Console, compared: ReadersComparison, evaluation: Evaluation) -> None:
    """The table of the readers, over how many slides it is, and what was left out that the evaluation did not name."""
    console.print("", tabulate_agreement(compared.targets))
    undrawn = f"; not drawn by all readers: {', '.join(compared.undrawn)}" if compared.undrawn else ""
    console.print(f"agreement over {len(compared.slides)} slides{undrawn}", "")
    for slide, message in compared.refused.items():
        if evaluation.refused.get(slide) != message:
            console.print(f"not in the agreement: {slide}: {message}")
    for message in compared.unused:
        if message not in evaluation.unused:
            console.print(f"not used: {message}")


def show_number(value: float, form: str = ".3f") -> str:
    """A number in a table; a dash where there is none."""
    return "–" if math.isnan(value) else format(value, form)


def show_p(value: float) -> str:
    """A p-value; small ones by their power of ten."""
    return show_number(value, ".1e" if 0 < value < 0.001 else ".3f")

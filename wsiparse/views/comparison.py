"""Runs and readers side by side in a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table

from wsiparse.runs.agreement import ReaderAgreement
from wsiparse.runs.compare import TargetComparison
from wsiparse.views.tables import make_table


def tabulate_comparison(comparisons: Sequence[TargetComparison]) -> Table:
    """One row a target: both means, their difference with its interval, p of Wilcoxon (ranks) and of Student (mean)."""
    table = make_table("target", "n ", "A ", "B ", "B - A ", "95 % ", "p ranks ", "p mean ")
    for part in comparisons:
        mean = part.comparison.mean
        interval = "–" if math.isnan(mean.low) else f"{mean.low:+.3f}…{mean.high:+.3f}"
        tests = (_show_p(part.comparison.wilcoxon_p), _show_p(part.comparison.t_p))
        values = (_show(part.first), _show(part.second), _show(mean.value, "+.3f"), interval, *tests)
        table.add_row(part.target, str(part.slides), *values)
    return table


def tabulate_agreement(agreements: Sequence[ReaderAgreement]) -> Table:
    """One row a target: the mean Dice of readers with each other, of the model with them, and of each with all."""
    readers = agreements[0].readers if agreements else ()
    table = make_table("target", "readers ", "model ", *(f"{reader} " for reader in readers[1:]))
    for part in agreements:
        each = [part.agreement.compare_reader(n) for n in range(1, len(readers))]
        table.add_row(part.target, *(_show(value) for value in (part.among_readers, part.of_model, *each)))
    return table


def _show(value: float, form: str = ".3f") -> str:
    return "–" if math.isnan(value) else format(value, form)


def _show_p(value: float) -> str:
    return _show(value, ".1e" if 0 < value < 0.001 else ".3f")

"""Scores as files for programs and as a table for people."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from wsiparse.evaluation.scores import CohortScore, Score, summarize_cohort
from wsiparse.files import write_json, write_whole

COLUMNS = ("slide", "target", "dice", "iou", "precision", "recall", "both", "predicted", "reference")


def write_scores(path: Path, scores: Sequence[Score]) -> None:
    """Write evaluation.csv: a row a slide and target, then a row a target of all slides together, its slide empty.

    What is undefined is empty.
    """
    pooled = [cohort.pooled for cohort in summarize_cohort(scores)]
    with write_whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([_format_cell(getattr(score, column)) for column in COLUMNS] for score in (*scores, *pooled))


def write_summary(path: Path, scores: Sequence[Score]) -> None:
    """Write evaluation.json: per target the Dice of the sums, means, medians and n; per slide the ignored pixels."""
    targets = [_describe_cohort(cohort) for cohort in summarize_cohort(scores)]
    slides = [{"slide": score.slide, "target": score.target, "ignored": score.ignored} for score in scores]
    write_json(path, {"targets": targets, "slides": slides})


def make_table(scores: Sequence[Score]) -> Table:
    """The cohort at a glance: one row a target."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("target", "slides", "Dice", "mean", "median", "IoU", "precision", "recall"):
        table.add_column(name, justify="left" if name == "target" else "right", overflow="fold")
    for cohort in summarize_cohort(scores):
        pooled = cohort.pooled
        values = (pooled.dice, cohort.mean_dice, cohort.median_dice, pooled.iou, pooled.precision, pooled.recall)
        table.add_row(cohort.target, str(cohort.slides), *(_show(value) for value in values))
    return table


def _describe_cohort(cohort: CohortScore) -> dict[str, Any]:
    numbers = {"dice": cohort.pooled.dice, **asdict(cohort), "ignored": cohort.pooled.ignored}
    del numbers["pooled"]
    return {"target": cohort.target, **{name: _blank_nan(value) for name, value in numbers.items()}}


def _format_cell(value: str | int | float) -> str:
    if not isinstance(value, float):
        return str(value)
    return "" if math.isnan(value) else f"{value:.6f}"


def _blank_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _show(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"

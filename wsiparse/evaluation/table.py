"""Measures as files for programs and as tables for people."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from wsiparse.evaluation.coarse import RegionAgreement, pool_regions
from wsiparse.evaluation.measures import CohortMeasures, Evaluation, Measures
from wsiparse.evaluation.objects import ObjectScore
from wsiparse.evaluation.statistics import Estimate
from wsiparse.files import write_whole

SCORES = ("slide", "target", "dice", "iou", "precision", "recall", "both", "predicted", "reference")
OBJECTS = {
    "pq": "panoptic_quality",
    "dq": "detection_quality",
    "sq": "segmentation_quality",
    "object_f1": "detection_f1",
    "object_dice": "object_dice",
    "count_error": "count_error",
    "predicted_objects": "predicted",
    "reference_objects": "reference",
}
"""Columns of objects, and the names that `ObjectScore` gives them."""
COLUMNS = (*SCORES, "dice_low", "dice_high", "ece", "hd95_um", *OBJECTS)


def write_scores(path: Path, evaluation: Evaluation) -> None:
    """Write evaluation.csv: a row a slide and target, then a row a target of all slides together, its slide empty.

    What is undefined, unknown or not asked for is empty; the interval of Dice is that of the cohort.
    """
    with write_whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([_format_cell(value) for value in row] for row in _list_rows(evaluation))


def _list_rows(evaluation: Evaluation) -> Iterable[list[Any]]:
    for measures in evaluation.measures:
        yield _list_cells(measures, (math.nan, math.nan))
    for cohort in evaluation.cohort:
        yield _list_cells(cohort.pooled, (cohort.dice.micro.low, cohort.dice.micro.high))


def _list_cells(measures: Measures, interval: tuple[float, float]) -> list[Any]:
    scores = [getattr(measures.score, column) for column in SCORES]
    return [*scores, *interval, measures.calibration_error, measures.hd95_um, *name_objects(measures.objects).values()]


def name_objects(objects: ObjectScore | None) -> dict[str, float]:
    """What objects scored, by column; nan where there is no such score."""
    return {column: math.nan if objects is None else getattr(objects, name) for column, name in OBJECTS.items()}


def make_tables(evaluation: Evaluation) -> list[Table]:
    """The cohort at a glance, one row a target: pixels, how sure they are, and objects where there are any."""
    cohort = evaluation.cohort
    objects = [(part.target, part.pooled.objects) for part in cohort if part.pooled.objects]
    tables = [_tabulate_scores(cohort), _tabulate_certainty(cohort)] if cohort or not evaluation.regions else []
    tables += [_tabulate_objects(objects)] if objects else []
    return [*tables, *([_tabulate_regions(evaluation.regions)] if evaluation.regions else [])]


def _tabulate_scores(cohort: Sequence[CohortMeasures]) -> Table:
    table = _start_table("target", "slides", "Dice", "mean", "median", "IoU", "precision", "recall")
    for part in cohort:
        pooled = part.cohort.pooled
        dice = (pooled.dice, part.cohort.mean_dice, part.cohort.median_dice)
        values = (*dice, pooled.iou, pooled.precision, pooled.recall)
        table.add_row(part.target, str(part.cohort.slides), *(_show(value) for value in values))
    return table


def _tabulate_certainty(cohort: Sequence[CohortMeasures]) -> Table:
    table = _start_table("target", "95 % of Dice", "95 % of mean", "ECE", "HD95 µm")
    for part in cohort:
        intervals = (_show_interval(part.dice.micro), _show_interval(part.dice.macro))
        table.add_row(part.target, *intervals, _show(part.pooled.calibration_error), _show(part.pooled.hd95_um, 1))
    return table


def _tabulate_objects(objects: Sequence[tuple[str, ObjectScore]]) -> Table:
    table = _start_table("target", "objects", "drawn", "error", "PQ", "DQ", "SQ", "F1", "Dice")
    for target, score in objects:
        qualities = (score.panoptic_quality, score.detection_quality, score.segmentation_quality)
        values = (score.count_error, *qualities, score.detection_f1, score.object_dice)
        table.add_row(target, str(score.predicted), str(score.reference), *(_show(value) for value in values))
    return table


def _tabulate_regions(regions: Sequence[RegionAgreement]) -> Table:
    table = _start_table("target", "slides", "inside labels: agreement", "coverage")
    for pooled in pool_regions(regions):
        slides = sum(region.target == pooled.target for region in regions)
        table.add_row(pooled.target, str(slides), _show(pooled.agreement), _show(pooled.coverage))
    return table


def _start_table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, justify="left" if name == "target" else "right", overflow="fold")
    return table


def _show_interval(estimate: Estimate) -> str:
    return "–" if math.isnan(estimate.low) else f"{estimate.low:.3f}–{estimate.high:.3f}"


def _format_cell(value: str | int | float) -> str:
    if not isinstance(value, float):
        return str(value)
    return "" if math.isnan(value) else f"{value:.6f}"


def blank_nan(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The same numbers with None for nan, which JSON does not know."""
    return {key: None if isinstance(n, float) and math.isnan(n) else n for key, n in numbers.items()}


def _show(value: float, digits: int = 3) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"

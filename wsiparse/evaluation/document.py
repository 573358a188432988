"""evaluation.json: all that was measured, for programs and for the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wsiparse.evaluation.calibration import Calibration, measure_reliability
from wsiparse.evaluation.coarse import RegionAgreement, pool_regions
from wsiparse.evaluation.confusion import Confusion
from wsiparse.evaluation.extremes import describe_extremes
from wsiparse.evaluation.measures import CohortMeasures, Evaluation, Measures
from wsiparse.evaluation.statistics import CohortDice, Resampling
from wsiparse.evaluation.table import blank_nan, name_objects
from wsiparse.files import write_json


def write_summary(path: Path, evaluation: Evaluation, source: Mapping[str, str | None] | None = None) -> None:
    """Write evaluation.json; `source` says where the references came from, so that a report can show them again.

    Per target: the Dice of the sums, means, medians, their intervals, calibration and objects. Per slide: ignored
    pixels, calibration, objects, distance and how regular the reference's shape is; the worst and the best tiles; the
    references that could not be used, what was left out of others, and those of no slide. What is undefined is null.
    """
    document = {
        "source": dict(source or {}),
        "targets": [_describe_cohort(cohort) for cohort in evaluation.cohort],
        "slides": [_describe_slide(measures) for measures in evaluation.measures],
        "confusions": [_describe_confusion(confusion) for confusion in evaluation.confusions],
        "regions": [_describe_region(region) for region in (*evaluation.regions, *pool_regions(evaluation.regions))],
        "refused": dict(evaluation.refused),
        "remarks": {slide: list(remarks) for slide, remarks in evaluation.remarks.items()},
        "unused": list(evaluation.unused),
        "tiles": describe_extremes(evaluation.extremes),
    }
    write_json(path, document)


def _describe_cohort(part: CohortMeasures) -> dict[str, Any]:
    pooled, means = part.cohort.pooled, asdict(part.cohort)
    del means["pooled"]
    numbers = {name: getattr(pooled, name) for name in ("dice", "iou", "precision", "recall")} | means
    numbers["ignored"] = pooled.ignored
    return {
        "target": part.target,
        **blank_nan(numbers),
        "intervals": _describe_intervals(part.dice),
        "calibration": _describe_calibration(part.pooled.calibration),
        **_describe_measures(part.pooled),
    }


def _describe_slide(measures: Measures) -> dict[str, Any]:
    score = measures.score
    numbers = blank_nan({"dice": score.dice, "ignored": score.ignored, "ece": measures.calibration_error})
    shape = blank_nan(asdict(measures.shape)) if measures.shape else None
    return {"slide": score.slide, "target": score.target, **numbers, **_describe_measures(measures), "shape": shape}


def _describe_measures(measures: Measures) -> dict[str, Any]:
    objects = None if measures.objects is None else blank_nan(name_objects(measures.objects))
    return {**blank_nan({"hd95_um": measures.hd95_um}), "objects": objects}


def _describe_intervals(dice: CohortDice) -> dict[str, Any]:
    estimates = {"dice": dice.micro, "mean_dice": dice.macro, "median_dice": dice.median}
    bounds = {name: blank_nan({"low": part.low, "high": part.high}) for name, part in estimates.items()}
    return {**asdict(Resampling()), **bounds}


def _describe_calibration(calibration: Calibration | None) -> dict[str, Any] | None:
    if calibration is None:
        return None
    curve = measure_reliability(calibration)
    errors = {"ece": curve.expected_error, "mce": curve.largest_error, "brier": calibration.brier}
    bins = {name: [_blank(n) for n in getattr(curve, name).tolist()] for name in ("predicted", "observed", "pixels")}
    return {**blank_nan(errors), "curve": bins}


def _blank(value: float) -> float | None:
    return None if math.isnan(value) else value


def _describe_region(region: RegionAgreement) -> dict[str, Any]:
    return {**asdict(region), **blank_nan({"agreement": region.agreement, "coverage": region.coverage})}


def _describe_confusion(confusion: Confusion) -> dict[str, Any]:
    return {"targets": confusion.targets, "pixels": confusion.pixels.tolist()}

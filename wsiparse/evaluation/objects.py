"""Scores of objects rather than pixels: how many glands or nuclei were found, and how well each was outlined."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from wsiparse.evaluation.overlaps import Areas, Numbers, Overlaps

MATCH_IOU = 0.5
"""Two objects match above it; of objects that do not overlap each other, at most one can."""


@dataclass(frozen=True)
class ObjectScore:
    """Sums over the objects of a slide that make up every score; of two slides, simply added."""

    predicted: int = 0
    """Predicted objects."""
    reference: int = 0
    """Objects of the reference."""
    matched: int = 0
    """Pairs of an IoU above 0.5, each object in one at most."""
    matched_iou: float = 0.0
    """Sum of their IoU."""
    detections: int = 0
    """Predicted objects that GlaS counts as true: they hold at least half of the object that they overlap most."""
    missed: int = 0
    """Objects of the reference that GlaS counts as missed: no detection holds half of them."""
    predicted_area_um2: float = 0.0
    reference_area_um2: float = 0.0
    predicted_dice_um2: float = 0.0
    """Sum over predicted objects of area × Dice with the object of the reference that each overlaps most."""
    reference_dice_um2: float = 0.0
    """Sum over objects of the reference of area × Dice with the predicted object that each overlaps most."""

    def __add__(self, other: ObjectScore) -> ObjectScore:
        return ObjectScore(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @property
    def detection_quality(self) -> float:
        """DQ, which is F1 at an IoU above 0.5: matched / (matched + half of the unmatched); nan without objects."""
        return _divide(2 * self.matched, self.predicted + self.reference)

    @property
    def segmentation_quality(self) -> float:
        """SQ: mean IoU of the matched pairs; nan where none is matched."""
        return _divide(self.matched_iou, self.matched)

    @property
    def panoptic_quality(self) -> float:
        """PQ = DQ × SQ (Kirillov et al. 2019); 0 where objects exist and none match, nan without objects."""
        return _divide(2 * self.matched_iou, self.predicted + self.reference)

    @property
    def detection_f1(self) -> float:
        """F1 by the rule of the GlaS contest (Sirinukunwattana et al. 2017); nan without objects."""
        false_alarms = self.predicted - self.detections
        return _divide(2 * self.detections, 2 * self.detections + false_alarms + self.missed)

    @property
    def object_dice(self) -> float:
        """Object-level Dice of the GlaS contest: both directions, weighted by area; nan without objects."""
        if not self.predicted and not self.reference:
            return math.nan
        found = self.predicted_dice_um2 / self.predicted_area_um2 if self.predicted else 0.0
        covered = self.reference_dice_um2 / self.reference_area_um2 if self.reference else 0.0
        return (found + covered) / 2

    @property
    def count_error(self) -> float:
        """(predicted - reference) / reference: -1 where all are missing; nan without a reference."""
        return _divide(self.predicted - self.reference, self.reference)


def score_objects(overlaps: Overlaps) -> ObjectScore:
    """Score the objects of one slide, or of any part of it that cuts no object."""
    matches = match_objects(overlaps)
    by_predicted, by_reference = find_largest_overlaps(overlaps)
    true, missed = _count_detections(overlaps, by_predicted)
    return ObjectScore(
        *(len(overlaps.predicted), len(overlaps.reference)),
        *(len(matches), float(overlaps.iou[matches].sum())),
        *(true, missed),
        *(float(overlaps.predicted.sum()), float(overlaps.reference.sum())),
        _weigh_dice(overlaps, by_predicted, overlaps.predicted[overlaps.pairs[by_predicted, 0]]),
        _weigh_dice(overlaps, by_reference, overlaps.reference[overlaps.pairs[by_reference, 1]]),
    )


def match_objects(overlaps: Overlaps, iou: float = MATCH_IOU) -> Numbers:
    """Places of the pairs that match: IoU above `iou`, best first, no object twice [matches].

    From 0.5 on the order decides only where outlines of one side overlap each other.
    """
    values = overlaps.iou
    candidates = np.flatnonzero(values > iou)
    best_first = candidates[np.argsort(-values[candidates], kind="stable")]
    taken: tuple[set[int], set[int]] = set(), set()
    matches = []
    for place, (predicted, reference) in zip(best_first.tolist(), overlaps.pairs[best_first].tolist(), strict=True):
        if predicted not in taken[0] and reference not in taken[1]:
            matches.append(place)
            taken[0].add(predicted)
            taken[1].add(reference)
    return np.array(sorted(matches), np.int64)


def find_largest_overlaps(overlaps: Overlaps) -> tuple[Numbers, Numbers]:
    """Places of the pairs with the largest shared area: one a predicted object, and one an object of the reference.

    Of equal overlaps the first object counts; objects that overlap nothing have no pair.
    """
    predicted, reference = overlaps.pairs[:, 0], overlaps.pairs[:, 1]
    by_predicted = np.lexsort([reference, -overlaps.shared, predicted])
    by_reference = np.lexsort([predicted, -overlaps.shared, reference])
    return by_predicted[_starts(predicted[by_predicted])], by_reference[_starts(reference[by_reference])]


def _starts(ordered: Numbers) -> NDArray[np.bool_]:
    return np.asarray(np.diff(ordered, prepend=-1) != 0)


def _count_detections(overlaps: Overlaps, by_predicted: Numbers) -> tuple[int, int]:
    objects = overlaps.pairs[by_predicted, 1]
    # An area measured on outlines carries rounding: exactly one half must count, as it does on pixels.
    true = overlaps.shared[by_predicted] >= 0.5 * overlaps.reference[objects] * (1 - 1e-12)
    found = len(np.unique(objects[true]))
    return int(np.count_nonzero(true)), len(overlaps.reference) - found


def _weigh_dice(overlaps: Overlaps, pairs: Numbers, areas: Areas) -> float:
    return float((overlaps.dice[pairs] * areas).sum())


def _divide(part: float, whole: float) -> float:
    return part / whole if whole else math.nan

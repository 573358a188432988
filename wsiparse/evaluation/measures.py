"""All that was measured of a target: on one slide, and over a cohort with how sure it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from operator import add
from statistics import fmean

from wsiparse.evaluation.calibration import Calibration, measure_reliability
from wsiparse.evaluation.coarse import RegionAgreement
from wsiparse.evaluation.confusion import Confusion
from wsiparse.evaluation.extremes import Extremes
from wsiparse.evaluation.objects import ObjectScore
from wsiparse.evaluation.scores import CohortScore, Score, drop_unannotated, summarize_cohort
from wsiparse.evaluation.shape import Regularity
from wsiparse.evaluation.statistics import CohortDice, summarize_dice


@dataclass(frozen=True)
class Measures:
    """One target on one slide, or on all slides where the score's slide is empty."""

    score: Score
    calibration: Calibration | None = None
    objects: ObjectScore | None = None
    """None for regions, and where the reference does not tell objects apart."""
    hd95_um: float = math.nan
    """nan where it was not asked for or does not exist; of a cohort the mean of its slides."""
    shape: Regularity | None = None
    """Of the reference's pixels as one mask; None for several slides."""

    @property
    def calibration_error(self) -> float:
        """ECE over all compared pixels; nan where the probabilities are not known."""
        return measure_reliability(self.calibration).expected_error if self.calibration else math.nan


@dataclass(frozen=True)
class CohortMeasures:
    """One target over all slides."""

    cohort: CohortScore
    dice: CohortDice
    """The same Dice with intervals, drawn slide by slide."""
    pooled: Measures
    """Of the added pixels and objects."""

    @property
    def target(self) -> str:
        """Name of the target."""
        return self.cohort.target


@dataclass(frozen=True)
class Evaluation:
    """A run held against its references."""

    measures: tuple[Measures, ...]
    """One each slide and target."""
    confusions: tuple[Confusion, ...] = ()
    """One each group in which at least two targets were annotated."""
    regions: tuple[RegionAgreement, ...] = ()
    """One each slide and target with labels drawn coarsely."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Slides that could not be compared, and why."""
    extremes: Mapping[str, Extremes] = field(default_factory=dict)
    """The worst and the best tiles of each target over all slides."""
    remarks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What was left out of a slide's reference or mended in it; slides of which nothing is to be said are absent."""
    unused: tuple[str, ...] = ()
    """References that belong to no slide, and why."""

    @property
    def scores(self) -> list[Score]:
        """The pixel counts of each slide and target."""
        return [measures.score for measures in self.measures]

    @cached_property
    def cohort(self) -> list[CohortMeasures]:
        """Each target over all slides, in the order in which targets come."""
        return [self._summarize_target(cohort) for cohort in summarize_cohort(self.scores)]

    def _summarize_target(self, cohort: CohortScore) -> CohortMeasures:
        parts = [measures for measures in self.measures if measures.score.target == cohort.target]
        counts = [(part.score.both, part.score.predicted, part.score.reference) for part in parts]
        return CohortMeasures(cohort, summarize_dice(counts), _pool(cohort.pooled, parts))


def keep_annotated(measures: Sequence[Measures]) -> tuple[Measures, ...]:
    """The measures of targets that have a reference pixel on at least one slide, as `drop_unannotated` says."""
    kept = {score.target for score in drop_unannotated([part.score for part in measures])}
    return tuple(part for part in measures if part.score.target in kept)


def _pool(score: Score, parts: Sequence[Measures]) -> Measures:
    calibrations = [part.calibration for part in parts if part.calibration]
    objects = [part.objects for part in parts if part.objects]
    return Measures(
        score,
        reduce(add, calibrations) if calibrations else None,
        reduce(add, objects) if objects else None,
        _mean(part.hd95_um for part in parts),
    )


def _mean(values: Iterable[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return fmean(defined) if defined else math.nan

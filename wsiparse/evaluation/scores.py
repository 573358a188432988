"""Scores as additive pixel counts: of a block, a slide or a cohort, the same type."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """How far prediction and reference agree on one target, in pixels of the target's canvas."""

    slide: str
    """Empty where several slides are added up."""
    target: str
    both: int
    """Pixels of prediction and reference alike."""
    predicted: int
    reference: int
    ignored: int = 0
    """Pixels left out of all other counts: under ignored annotations, or outside the frames that were drawn."""

    @property
    def dice(self) -> float:
        """2 |P ∩ R| / (|P| + |R|); nan where neither has a pixel."""
        return _divide(2 * self.both, self.predicted + self.reference)

    @property
    def iou(self) -> float:
        """|P ∩ R| / |P ∪ R|; nan where neither has a pixel."""
        return _divide(self.both, self.predicted + self.reference - self.both)

    @property
    def precision(self) -> float:
        """Share of the prediction that is right; nan where nothing was predicted."""
        return _divide(self.both, self.predicted)

    @property
    def recall(self) -> float:
        """Share of the reference that was found; nan where there is none."""
        return _divide(self.both, self.reference)


@dataclass(frozen=True)
class CohortScore:
    """One target over all slides: of the added pixels, and over the slides one by one."""

    pooled: Score
    """Its Dice is the Dice of the sums: a large slide weighs more than a small one."""
    slides: int
    """Slides that were compared."""
    scored: int
    """Slides on which Dice is defined; means and medians are over these."""
    mean_dice: float
    median_dice: float
    mean_iou: float
    median_iou: float

    @property
    def target(self) -> str:
        """Name of the target."""
        return self.pooled.target


def pool_scores(scores: Sequence[Score], slide: str = "") -> Score:
    """The score of one target over all pixels of at least one score, such as the blocks of a slide."""
    return Score(
        slide,
        scores[0].target,
        sum(score.both for score in scores),
        sum(score.predicted for score in scores),
        sum(score.reference for score in scores),
        sum(score.ignored for score in scores),
    )


def summarize_cohort(scores: Iterable[Score]) -> list[CohortScore]:
    """The cohort's score of each target, in the order in which the targets come."""
    by_target: dict[str, list[Score]] = {}
    for score in scores:
        by_target.setdefault(score.target, []).append(score)
    return [_summarize_target(part) for part in by_target.values()]


def drop_unannotated(scores: Sequence[Score]) -> list[Score]:
    """The scores of targets that have a reference pixel on at least one slide.

    Outlines do not say whether a target that nobody drew was looked for; where it was not, its Dice of 0 says nothing.
    """
    annotated = {score.target for score in scores if score.reference}
    return [score for score in scores if score.target in annotated]


def _summarize_target(scores: Sequence[Score]) -> CohortScore:
    dices = [score.dice for score in scores if not math.isnan(score.dice)]
    ious = [score.iou for score in scores if not math.isnan(score.iou)]
    return CohortScore(
        pool_scores(scores),
        len({score.slide for score in scores}),
        len(dices),
        *(_mean(dices), _median(dices)),
        *(_mean(ious), _median(ious)),
    )


def _divide(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else math.nan

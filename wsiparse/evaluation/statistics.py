"""How sure a cohort's score is, and whether two runs differ: the slide is what is drawn, never the pixel."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from wsiparse.errors import InputError

Values = NDArray[np.float64]
Statistic = Callable[[Values], Values]
"""From rows of many drawings [drawings, slides, columns] to one number each [drawings]; nan where it has none."""

_DECIMALS = 9
"""To which differences are told apart where they are ranked: finer than any measure is written."""
_DRAWN_AT_ONCE = 1 << 22
"""Numbers in memory at a time while drawing."""


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn; equal settings give equal intervals."""

    confidence: float = 0.95
    drawings: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1 or self.drawings < 1:
            raise InputError(
                f"confidence {self.confidence}, {self.drawings} drawings: expected a confidence between 0 and 1 and at "
                "least one drawing; correct them"
            )


@dataclass(frozen=True)
class Estimate:
    """A number of a cohort with its confidence interval."""

    value: float
    low: float
    """nan where the interval is unknown: with less than two slides."""
    high: float
    slides: int
    """Slides with a value."""


@dataclass(frozen=True)
class CohortDice:
    """Dice of one target over a cohort, in the three ways it is reported."""

    micro: Estimate
    """Of the added pixels: large slides weigh more."""
    macro: Estimate
    """Mean of the slides."""
    median: Estimate


@dataclass(frozen=True)
class Comparison:
    """Two runs over the same slides, slide by slide; differences are second less first."""

    mean: Estimate
    median: float
    wilcoxon_p: float
    """Wilcoxon's signed-rank test, two-sided; slides without a difference are left out, 1 where none differs."""
    t_p: float
    """Student's paired t test, two-sided; 1 where no slide differs."""


def estimate_interval(rows: ArrayLike, statistic: Statistic, resampling: Resampling | None = None) -> Estimate:
    """A statistic of a cohort and its percentile bootstrap interval, from one row of numbers a slide [slides, columns].

    Whole slides are drawn with replacement (Efron 1979), for pixels and objects of one slide resemble each other.
    Drawings on which the statistic is nan are left out.
    """
    settings = resampling or Resampling()
    table = _as_table(rows)
    value = float(statistic(table[None])[0]) if len(table) else math.nan
    if len(table) < 2:
        return Estimate(value, math.nan, math.nan, len(table))
    drawn = _draw(table, statistic, settings)
    drawn = drawn[np.isfinite(drawn)]
    tail = (1 - settings.confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail]) if len(drawn) else (math.nan, math.nan)
    return Estimate(value, float(low), float(high), len(table))


def _as_table(rows: ArrayLike) -> Values:
    table = np.asarray(rows, np.float64)
    return table if table.ndim == 2 else table.reshape(-1, 1)  # [slides, columns]


def _draw(table: Values, statistic: Statistic, settings: Resampling) -> Values:
    generator = np.random.default_rng(settings.seed)
    step = max(_DRAWN_AT_ONCE // table.size, 1)
    parts = []
    for start in range(0, settings.drawings, step):
        size = (min(step, settings.drawings - start), len(table))
        parts.append(statistic(table[generator.integers(0, len(table), size)]))
    return np.concatenate(parts)


def mean_rows(rows: Values) -> Values:
    """Mean over the slides of the first column [drawings]."""
    return np.asarray(rows[..., 0].mean(axis=-1))


def median_rows(rows: Values) -> Values:
    """Median over the slides of the first column [drawings]."""
    return np.asarray(np.median(rows[..., 0], axis=-1))


def pool_dice(rows: Values) -> Values:
    """Dice of the sums of the columns both, predicted and reference [drawings]; nan where all are 0."""
    both, predicted, reference = np.moveaxis(rows.sum(axis=-2), -1, 0)
    sizes = predicted + reference
    return np.asarray(np.divide(2 * both, sizes, out=np.full_like(sizes, np.nan), where=sizes > 0))


def summarize_dice(counts: ArrayLike, resampling: Resampling | None = None) -> CohortDice:
    """Dice of a cohort from the pixels both, predicted and reference of each slide [slides, 3].

    Slides on which neither has a pixel have no Dice: mean and median leave them out. Give areas in µm² where the
    slides were compared at different scales.
    """
    table = np.asarray(counts, np.float64).reshape(-1, 3)
    dice = pool_dice(table[:, None])  # [slides]
    dice = dice[np.isfinite(dice)]
    return CohortDice(
        estimate_interval(table, pool_dice, resampling),
        estimate_interval(dice, mean_rows, resampling),
        estimate_interval(dice, median_rows, resampling),
    )


def compare_runs(first: ArrayLike, second: ArrayLike, resampling: Resampling | None = None) -> Comparison:
    """Compare the scores of two runs on the same slides in the same order; a slide with a nan in either is left out."""
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape:
        raise InputError(f"{one.size} and {other.size} scores to compare: expected one of each run a slide; align them")
    differences = other - one
    differences = differences[np.isfinite(differences)]
    median = float(np.median(differences)) if len(differences) else math.nan
    mean = estimate_interval(differences, mean_rows, resampling)
    return Comparison(mean, median, _test_ranks(differences), _test_mean(differences))


def _test_ranks(differences: Values) -> float:
    if len(differences) == 0:
        return math.nan
    # Differences of decimals that are equal on paper differ in their last bits, and would not share a rank.
    rounded = np.round(differences, _DECIMALS)
    changed = rounded[rounded != 0]
    return float(stats.wilcoxon(changed).pvalue) if len(changed) else 1.0


def _test_mean(differences: Values) -> float:
    count = len(differences)
    if count < 2:
        return math.nan
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    if deviation == 0:  # the test has no number for it; its limit is certainty either way
        return 1.0 if mean == 0 else 0.0
    return 2 * float(stats.t.sf(abs(mean) / (deviation / math.sqrt(count)), count - 1))

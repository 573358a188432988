"""Whether a probability of 0.8 is right in 80 of 100 pixels: reliability from histograms that add up."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsiparse.errors import InputError

_LEVELS = 256

Counts = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Pixels by predicted probability: of a block, a slide or a cohort, the same type."""

    pixels: Counts
    """Pixels of each stored probability n / 255 [256]."""
    hits: Counts
    """Those of them that the reference holds [256]."""

    def __add__(self, other: Calibration) -> Calibration:
        return Calibration(self.pixels + other.pixels, self.hits + other.hits)

    @property
    def brier(self) -> float:
        """Mean squared error of the probabilities (Brier 1950); nan without pixels."""
        p = np.arange(_LEVELS) / (_LEVELS - 1)
        errors = self.hits * (1 - p) ** 2 + (self.pixels - self.hits) * p**2
        return float(errors.sum() / self.pixels.sum()) if self.pixels.any() else math.nan


@dataclass(frozen=True, eq=False)
class Reliability:
    """The calibration curve in bins of equal width; nan in a bin without pixels."""

    predicted: Values
    """Mean predicted probability of each bin [bins]."""
    observed: Values
    """Share of its pixels that the reference holds [bins]."""
    pixels: Counts
    """Pixels of each bin [bins]."""

    @property
    def expected_error(self) -> float:
        """ECE: mean |predicted - observed| of the pixels' bins (Naeini et al. 2015); nan without pixels."""
        filled = self.pixels > 0
        gaps = np.abs(self.predicted - self.observed)[filled]
        return float(np.average(gaps, weights=self.pixels[filled])) if filled.any() else math.nan

    @property
    def largest_error(self) -> float:
        """MCE: the largest |predicted - observed| of a bin; nan without pixels."""
        filled = self.pixels > 0
        return float(np.abs(self.predicted - self.observed)[filled].max()) if filled.any() else math.nan


def count_calibration(
    probabilities: NDArray[np.uint8], reference: NDArray[np.bool_], compared: NDArray[np.bool_] | None = None
) -> Calibration:
    """Count a block's pixels: probabilities as the canvas stores them, p = value / 255, and a mask of equal shape.

    `compared` is a mask of the pixels that are counted; without it, all are.
    """
    counted = np.ones_like(reference) if compared is None else compared
    return Calibration(_count(probabilities, counted), _count(probabilities, reference & counted))


def _count(probabilities: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Counts:
    # Counting bytes as bytes takes a third of the time of np.bincount, which turns them into long integers first.
    values, inside = (Image.fromarray(np.atleast_2d(part)) for part in (probabilities, mask.astype(np.uint8)))
    return np.array(values.histogram(inside), np.int64)


def measure_reliability(calibration: Calibration, bins: int = 15) -> Reliability:
    """The calibration curve in `bins` equal bins, [n / bins, (n + 1) / bins), the last one with its upper end."""
    if not 1 <= bins <= _LEVELS:
        raise InputError(
            f"{bins} bins of a calibration: expected 1 to {_LEVELS}, the stored probabilities; choose fewer"
        )
    values = np.arange(_LEVELS)
    places = np.minimum(values * bins // (_LEVELS - 1), bins - 1)  # in integers: no bin edge falls to rounding
    pixels, hits = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
    np.add.at(pixels, places, calibration.pixels)
    np.add.at(hits, places, calibration.hits)
    sums = np.bincount(places, calibration.pixels * values / (_LEVELS - 1), bins)
    return Reliability(_divide(sums, pixels), _divide(hits, pixels), pixels)


def _divide(sums: NDArray[np.float64] | Counts, pixels: Counts) -> Values:
    return np.asarray(np.divide(sums, pixels, out=np.full(len(pixels), np.nan), where=pixels > 0))

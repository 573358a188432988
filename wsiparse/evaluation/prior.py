"""What a target typically looks like to the model: probabilities around its objects, aligned and averaged."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Window = NDArray[np.float64]
"""Probabilities 0..1 [h, w] around an object."""


def average_aligned(windows: Iterable[Window]) -> Window | None:
    """Mean [h, w] of windows of one size, each shifted to where it meets the sum of those before it best.

    The method of the BiomedParse paper (Methods, attention map): the shift is that of the largest cross-correlation,
    and what is shifted in from outside is 0. The order of the windows counts. None without a window.
    """
    rest = iter(windows)
    total, count = next(rest, None), 1
    if total is None:
        return None
    for window in rest:
        total, count = total + align(window, total), count + 1
    return total / count


def align(window: Window, total: Window) -> Window:
    """The window shifted to its largest cross-correlation with `total`; of equal ones to the nearest."""
    height, width = window.shape
    shape = (2 * height - 1, 2 * width - 1)
    spectrum = fft.rfft2(total, shape) * np.conj(fft.rfft2(window, shape))
    correlation = fft.fftshift(fft.irfft2(spectrum, shape))  # shift of (0, 0) at the middle
    dy, dx = _find_nearest_peak(correlation)
    return shift(window, dy, dx)


def _find_nearest_peak(correlation: Window) -> tuple[int, int]:
    tolerance = 1e-9 * max(float(np.abs(correlation).max()), 1.0)  # the transform's own rounding
    shifts = np.argwhere(correlation >= correlation.max() - tolerance) - np.array(correlation.shape) // 2
    dy, dx = shifts[np.argmin((shifts**2).sum(axis=1))].tolist()
    return dy, dx


def shift(window: Window, dy: int, dx: int) -> Window:
    """The window moved by whole pixels, less than its own sides; 0 comes in."""
    height, width = window.shape
    padded = np.pad(window, ((max(dy, 0), max(-dy, 0)), (max(dx, 0), max(-dx, 0))))
    return padded[max(-dy, 0) :, max(-dx, 0) :][:height, :width]

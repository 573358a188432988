"""Masks of discs and of noise, for what tells objects apart."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]


def draw_discs(shape: tuple[int, int], centers: Iterable[Iterable[float]], radius: float) -> Mask:
    rows, columns = np.indices(shape)
    mask = np.zeros(shape, np.bool_)
    for row, column in centers:
        mask |= (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    return mask


@st.composite
def draw_noise(draw: st.DrawFn) -> tuple[Mask, NDArray[np.uint8]]:
    """A mask up to 120 pixels wide of touching blobs or of a labyrinth, fine to coarse, and its probabilities."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.integers(1, 120)), draw(st.integers(1, 120))
    smooth = ndimage.gaussian_filter(generator.standard_normal(shape), draw(st.sampled_from([0.0, 1.0, 2.0, 4.0])))
    if draw(st.booleans()):
        smooth = -np.abs(smooth)
    mask = smooth >= np.quantile(smooth, draw(st.sampled_from([0.2, 0.5, 0.8])))
    levels = draw(st.sampled_from([1, 3, 128]))
    probability = np.where(mask, 128 + generator.integers(0, levels, shape), 0)
    return mask, probability.astype(np.uint8)

"""Which target each pixel is: thresholds and the strongest probability, in whole numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.unsignedinteger[Any]]
"""Codes of one exclusive group [h, w]: 0 is none of its targets, n is the n-th of them."""

NEVER = 256
"""A cut that no value reaches."""
_STRIP_PIXELS = 1 << 17
"""Pixels handled at a time: a strip of all intermediates stays in the processor's cache."""


def recognize(probabilities: NDArray[Any], cuts: Sequence[float]) -> Labels:
    """Codes [h, w] of one exclusive group from its probabilities uint8 [K, h, w].

    A target competes where its value reaches its cut; the largest p wins, the earlier target where two are equal.
    uint8 for up to 255 targets, else uint16.
    """
    _, height, width = probabilities.shape
    labels = np.zeros((height, width), label_type(len(cuts)))  # [h, w]
    rows = max(_STRIP_PIXELS // max(width, 1), 1)
    for top in range(0, height, rows):
        _recognize_strip(probabilities[:, top : top + rows], cuts, labels[top : top + rows])
    return labels


def quantize_threshold(threshold: float) -> int:
    """The smallest stored value that reaches `threshold`: ceil(255 threshold), at least 1."""
    # The allowance keeps 255 × 0.6 at 153 should the product carry a rounding error.
    return max(math.ceil(255 * threshold - 1e-9), 1)


def label_type(targets: int) -> type[np.uint8] | type[np.uint16]:
    """The integer type that holds the codes of so many targets."""
    return np.uint8 if targets <= 255 else np.uint16


def _recognize_strip(probabilities: NDArray[Any], cuts: Sequence[float], labels: Labels) -> None:
    best = np.zeros(labels.shape, probabilities.dtype)
    for code, (plane, cut) in enumerate(zip(probabilities, cuts, strict=True), start=1):
        wins = (plane > best) & (plane >= cut)
        np.copyto(labels, code, where=wins, casting="unsafe")
        np.copyto(best, plane, where=wins)

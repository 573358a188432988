"""Which target each pixel is: thresholds and the strongest probability, in whole numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsiparse.compiled import compile_loop

Labels = NDArray[np.unsignedinteger[Any]]
"""Codes of one exclusive group [h, w]: 0 is none of its targets, n is the n-th of them."""

NEVER = 256
"""A cut that no value reaches."""


def recognize(probabilities: NDArray[Any], cuts: Sequence[float]) -> Labels:
    """Codes [h, w] of one exclusive group from its probabilities uint8 [K, h, w].

    A target competes where its value reaches its cut; the largest p wins, the earlier target where two are equal.
    uint8 for up to 255 targets, else uint16.
    """
    labels = np.zeros(probabilities.shape[1:], label_type(len(cuts)))  # [h, w]
    _recognize_rows(probabilities, np.array(cuts, np.float64), labels)
    return labels


def quantize_threshold(threshold: float) -> int:
    """The smallest stored value that reaches `threshold`: ceil(255 threshold), at least 1."""
    # The allowance keeps 255 × 0.6 at 153 should the product carry a rounding error.
    return max(math.ceil(255 * threshold - 1e-9), 1)


def label_type(targets: int) -> type[np.uint8] | type[np.uint16]:
    """The integer type that holds the codes of so many targets."""
    return np.uint8 if targets <= 255 else np.uint16


@compile_loop
def _recognize_rows(probabilities: NDArray[Any], cuts: NDArray[np.float64], labels: Labels) -> None:
    best = np.empty(labels.shape[1], probabilities.dtype)
    for y in range(len(labels)):
        row = labels[y]
        best[:] = 0
        for target in range(len(cuts)):
            plane, cut = probabilities[target, y], cuts[target]
            for x in range(len(row)):
                if plane[x] > best[x] and plane[x] >= cut:
                    row[x], best[x] = target + 1, plane[x]

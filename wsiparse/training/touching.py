"""Where numbered objects touch, or nearly: what a run must see to tell them apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

REACH = 2
"""Pixels of an image from a border to the objects on either side of it."""
REACH_UM = 1.0
"""The same where the scale is known."""


def find_borders(numbers: NDArray[np.integer], reach: int = REACH) -> NDArray[np.bool_]:
    """Where [H, W] two of the numbered objects [H, W] are no farther away than `reach`, inside them or between."""
    numbers, around = numbers.astype(np.int64), 2 * reach + 1
    highest = ndimage.maximum_filter(numbers, around)
    lowest = ndimage.minimum_filter(np.where(numbers > 0, numbers, numbers.max(initial=0) + 1), around)
    borders: NDArray[np.bool_] = lowest < highest
    return borders

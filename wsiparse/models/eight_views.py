"""Eight views of a tile, turned and mirrored in every way, for one steadier answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsiparse.models.model import Probabilities

VIEWS = tuple((turns, mirror) for turns in range(4) for mirror in (1, -1))
"""Quarter turns and the step along the columns that make each view."""


def average_views(
    predict: Callable[[NDArray[np.uint8]], Probabilities], pixels: NDArray[np.uint8], count: int
) -> Probabilities:
    """What `predict` says of tiles [N, H, W, 3], or, with a `count` of 8, its mean over their eight views.

    Sums of the quantised maps [N, K, H, W] are exact, so that a turned tile's map is its map turned, byte for byte.
    """
    if count == 1:
        return predict(pixels)
    total: NDArray[Any] = np.asarray(len(VIEWS) // 2, np.uint16)  # a half rounds up
    for turns, mirror in VIEWS:
        view = np.rot90(pixels, turns, (1, 2))[:, :, ::mirror]
        total = total + np.rot90(predict(np.ascontiguousarray(view))[..., ::mirror], -turns, (2, 3))
    return np.asarray(total // len(VIEWS), np.uint8)

"""Tiles to the size a network was trained at: square ones bit for bit as Pillow resizes them, on any device."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PRECISION = 22
"""Bits of the fixed-point weights, as in Pillow; with 8 bits of a pixel and 2 to spare they fill 32."""


def resize_pixels(pixels: Tensor, height: int, width: int) -> Tensor:
    """Resize uint8 pixels [N, H, W, 3] by Pillow's bicubic filter: columns first, rounded, then rows."""
    return _resample(_resample(pixels, 2, width), 1, height)


def _resample(pixels: Tensor, axis: int, size: int) -> Tensor:
    if pixels.shape[axis] == size:
        return pixels
    places, weights = (torch.from_numpy(array).to(pixels.device) for array in _find_taps(pixels.shape[axis], size))
    line = [1, 1, 1, 1]
    line[axis] = size
    total = torch.full([1], 1 << (PRECISION - 1), dtype=torch.int32, device=pixels.device)
    for place, weight in zip(places, weights, strict=True):
        total = total + pixels.index_select(axis, place) * weight.view(line)
    return (total >> PRECISION).clamp_(0, 255).to(torch.uint8)


@functools.cache
def _find_taps(before: int, after: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Which pixels make up each resized pixel, and their weights times 2^22: two arrays [taps, after]."""
    scale = before / after
    reach = 2 * max(scale, 1.0)
    centre = (np.arange(after) + 0.5) * scale
    first = np.maximum((centre - reach + 0.5).astype(int), 0)
    last = np.minimum((centre + reach + 0.5).astype(int), before)
    places = first + np.arange((last - first).max())[:, None]
    weights = np.where(places < last, _weigh_cubic((places - centre + 0.5) / max(scale, 1.0)), 0.0)
    fixed = weights / weights.sum(0) * (1 << PRECISION)
    return np.minimum(places, before - 1), np.trunc(fixed + np.copysign(0.5, fixed)).astype(np.int32)


def _weigh_cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution (1981) with a = -0.5."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))

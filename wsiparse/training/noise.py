"""Random fields that changes to training crops are drawn from; they follow from a NumPy generator alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def draw_field(
    shape: tuple[int, int, int], random: np.random.Generator, counts: tuple[int, int], mode: str = "bicubic"
) -> Tensor:
    """Smooth normal noise [N, 1, H, W] for a shape N, H, W, with so many free values along a side."""
    count = int(random.integers(*counts))
    coarse = draw_normal(random, (shape[0], 1, count, count), 0, 1)
    return functional.interpolate(coarse, shape[1:], mode=mode, align_corners=False)


def draw_normal(random: np.random.Generator, shape: tuple[int, ...], mean: float, deviation: float) -> Tensor:
    """Normal noise of a shape."""
    return mean + deviation * torch.from_numpy(random.standard_normal(shape, np.float32))


def draw_patches(shape: torch.Size, random: np.random.Generator, counts: tuple[int, int], most: float) -> Tensor:
    """A smooth field [1, H, W] from 0 to `most` or less, with so many patches along a side."""
    patches = (0.5 + 0.5 * draw_field((1, *shape[-2:]), random, counts, "bilinear")[0]).clamp(0, 1)
    return patches * float(random.uniform(0.2, most))

"""Fibrous tissue without glands, drawn: muscle and the stroma around tumours, which biopsies of a mucosa hardly show.

Random numbers come from a NumPy generator alone, so that a crop follows from its seed.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from wsiparse.training.augment import STAINS, cover_side
from wsiparse.training.noise import draw_field, draw_normal

GRAINS = 48
"""Free values along each side of the noise that strokes are drawn from."""


def lay_fibres(crops: Tensor, allowed: NDArray[np.bool_], random: np.random.Generator, share: float) -> Tensor:
    """Crops [N, 3 + C, H, W], a `share` of those `allowed` [N] with fibres all over or beyond a straight edge.

    The fibres have nuclei, about which a crop must not say anything. Where they lie its masks are empty and nothing is
    hidden.
    """
    for crop in (crop for crop, taken in zip(crops, allowed, strict=True) if taken and share):
        if random.random() < share:
            cover_side(crop, draw_fibres(crop.shape[-1], random), random)
    return crops


def draw_fibres(side: int, random: np.random.Generator) -> Tensor:
    """Light [3, side, side] through wavy fibres with clefts between them and slender nuclei along them.

    They are as long and as wide as they look at some 1.5 µm per pixel.
    """
    way = _draw_way(side, random)
    fibres = _draw_strokes(way, random, (8.0, 24.0), (1.0, 3.0))
    clefts = _mark_rare(_draw_strokes(way, random, (12.0, 40.0), (1.5, 4.0)), random.uniform(1.0, 2.5))
    nuclei = _mark_rare(_draw_strokes(way, random, (4.0, 9.0), (1.2, 2.5)), random.uniform(0.9, 2.0))
    eosin = random.uniform(0.2, 0.8) * (1 + random.uniform(0.2, 0.7) * fibres).clamp(min=0) * (1 - clefts)
    blue = random.uniform(0, 0.15) * (1 - clefts) + random.uniform(0.4, 1.2) * nuclei
    density = blue * STAINS[0, :, None, None] + eosin * STAINS[1, :, None, None]
    return torch.exp(-density.clamp(0, 5.5))


def _draw_way(side: int, random: np.random.Generator) -> Tensor:
    """Places along and across the fibres [side, side, 2], in pixels."""
    angle = random.uniform(0, math.pi)
    y, x = torch.meshgrid(*[torch.arange(side).float()] * 2, indexing="ij")
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    waves = draw_field((2, side, side), random, (3, 7))[:, 0] * random.uniform(2, 14)
    return torch.stack([along + waves[0], across + waves[1]], -1)


def _draw_strokes(
    way: Tensor, random: np.random.Generator, lengths: tuple[float, float], widths: tuple[float, float]
) -> Tensor:
    """Noise [side, side] around 0, as long along the way and as wide across it as one length and one width say."""
    size = torch.tensor([random.uniform(*lengths), random.uniform(*widths)])
    noise = draw_normal(random, (1, 1, GRAINS, GRAINS), 0, 1)
    grid = 2 * way / (size * GRAINS) - 1
    return functional.grid_sample(noise, grid[None], "bicubic", "reflection", align_corners=False)[0, 0]


def _mark_rare(noise: Tensor, limit: float) -> Tensor:
    """1 where noise is above a limit, 0 below, and a narrow rise between them."""
    return (6 * (noise - limit)).sigmoid()

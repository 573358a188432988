"""Readers over arrays in memory: slides whose every pixel the test knows."""

from __future__ import annotations

import numpy as np

from wsiparse.geometry import Grid, Region
from wsiparse.slides.slide import Pixels, Slide


class ArrayReader:
    """Reads one-level or pyramid slides that are arrays [height, width, 3]."""

    def __init__(self, *levels: Pixels, mpp: float = 0.5) -> None:
        first = levels[0].shape[1]
        grids = tuple(Grid(a.shape[1], a.shape[0], mpp * round(first / a.shape[1])) for a in levels)
        self.slide = Slide("drawn", "memory", grids, "manifest")
        self.levels = levels
        self.unreadable_pixels = 0

    def read_region(self, region: Region, level: int) -> Pixels:
        pixels = np.full((region.height, region.width, 3), 255, np.uint8)
        inside = region.intersect(self.slide.levels[level].region)
        pixels[inside.shift(-region.x, -region.y).slices] = self.levels[level][inside.slices]
        return pixels

    def close(self) -> None:
        pass


def draw_noise(width: int, height: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)

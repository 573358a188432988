"""A slide at a glance, whatever its size."""

from __future__ import annotations

import numpy as np
from PIL import Image

from wsiparse.geometry import Grid
from wsiparse.slides.levels import cut_region
from wsiparse.slides.slide import Pixels, Reader

SQUARE = 2048
"""Side of the squares that are held in memory at a time, in pixels of the level read."""


def read_thumbnail(reader: Reader, mpp: float) -> tuple[Pixels, Grid]:
    """RGB of the whole slide at about `mpp`, uint8 [H, W, 3], and its grid.

    Each pixel is the mean of a whole square of pixels of a stored level, so the grid's own mpp is exact and lies within
    a factor 1.5 of the one asked for, or is that of the slide where the slide is coarser.
    """
    level = reader.slide.best_level(mpp)
    stored = reader.slide.levels[level]
    side = max(round(mpp / stored.mpp), 1)
    grid = Grid(-(-stored.width // side), -(-stored.height // side), stored.mpp * side)
    pixels = np.empty((grid.height, grid.width, 3), np.uint8)  # [H, W, 3]
    square = max(SQUARE // side, 1)
    for part in cut_region(grid.region, (square, square)):
        source = stored.region.intersect(stored.cover(part, grid))
        # Pillow's reduction averages what there is of a square at the right and lower edge.
        pixels[part.slices] = np.asarray(Image.fromarray(reader.read_region(source, level)).reduce(side))
    return pixels, grid

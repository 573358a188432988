"""A slide at a glance, whatever its size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsiparse.geometry import Grid, Region
from wsiparse.slides.levels import cut_region
from wsiparse.slides.slide import Pixels, Reader

SQUARE = 2048
"""Side of the squares that are held in memory at a time, in pixels of the level read."""
LOST_SQUARE = 256
"""Side of those that are taken to be lost as a whole where one of their pixels is."""


def read_thumbnail(reader: Reader, mpp: float) -> tuple[Pixels, Grid]:
    """RGB of the whole slide at about `mpp`, uint8 [H, W, 3], and its grid.

    Each pixel is the mean of a whole square of pixels of a stored level, so the grid's own mpp is exact and lies within
    a factor 1.5 of the one asked for, or is that of the slide where the slide is coarser.
    """
    level, side, grid = _choose_grid(reader, mpp)
    pixels = np.empty((grid.height, grid.width, 3), np.uint8)  # [H, W, 3]
    for part, source in _cut_level(reader.slide.levels[level], grid, max(SQUARE // side, 1)):
        # Pillow's reduction averages what there is of a square at the right and lower edge.
        pixels[part.slices] = np.asarray(Image.fromarray(reader.read_region(source, level)).reduce(side))
    return pixels, grid


def find_lost(reader: Reader, mpp: float) -> NDArray[np.bool_]:
    """Which pixels of `read_thumbnail` come of squares that cannot all be decoded, bool [H, W]; they look like glass.

    The level is read once more, by a reader that nobody else uses meanwhile.
    """
    level, side, grid = _choose_grid(reader, mpp)
    lost = np.zeros((grid.height, grid.width), bool)
    for part, source in _cut_level(reader.slide.levels[level], grid, max(LOST_SQUARE // side, 1)):
        before = reader.unreadable_pixels
        reader.read_region(source, level)
        lost[part.slices] = reader.unreadable_pixels > before
    return lost


def _choose_grid(reader: Reader, mpp: float) -> tuple[int, int, Grid]:
    """The level to read, how many of its pixels make the side of one of the thumbnail, and its grid."""
    level = reader.slide.best_level(mpp)
    stored = reader.slide.levels[level]
    side = max(round(mpp / stored.mpp), 1)
    return level, side, Grid(-(-stored.width // side), -(-stored.height // side), stored.mpp * side)


def _cut_level(stored: Grid, grid: Grid, square: int) -> Iterator[tuple[Region, Region]]:
    """Squares of the thumbnail, and what each is made of in pixels of the stored level."""
    for part in cut_region(grid.region, (square, square)):
        yield part, stored.region.intersect(stored.cover(part, grid))

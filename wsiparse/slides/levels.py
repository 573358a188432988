"""Stored levels as grids that do not drift, and the cells they are cut in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from wsiparse.geometry import Grid, Region
from wsiparse.slides.slide import Pixels

Size = tuple[int, int]
"""Width and height in pixels."""


def build_levels(sizes: Sequence[Size], mpp: float) -> tuple[Grid, ...]:
    """Grids of stored levels, finest first, from their sizes and the µm per pixel of the finest."""
    return tuple(Grid(*size, mpp * measure_downsample(sizes[0], size)) for size in sizes)


def measure_downsample(finest: Size, size: Size) -> float:
    """Pixels of the finest level per pixel of a level, the same along both axes.

    Writers halve or quarter and then cut or pad to whole pixels, so a ratio of the sizes is off by up to a pixel over
    the slide's whole width. Where some integer explains both sizes, it is the true ratio.
    """
    ratio = (finest[0] / size[0] + finest[1] / size[1]) / 2
    power = 2 ** round(math.log2(ratio))
    nearest = round(ratio)
    fitting = (n for n in (power, nearest, nearest - 1, nearest + 1) if n >= 1 and _explains(n, finest, size))
    return float(next(fitting, ratio))


def cut_region(region: Region, cell: Size) -> Iterator[Region]:
    """The parts of a region in each cell of the lattice of `cell` anchored at the origin, row by row."""
    for y in _cut(region.y, region.bottom, cell[1]):
        for x in _cut(region.x, region.right, cell[0]):
            yield Region(x.start, y.start, len(x), len(y))


def blank_pixels(region: Region) -> Pixels:
    """White pixels, uint8 [height, width, 3]."""
    return np.full((max(region.height, 0), max(region.width, 0), 3), 255, np.uint8)  # [H, W, 3]


def _explains(downsample: int, finest: Size, size: Size) -> bool:
    return all(abs(large / downsample - small) < 1 for large, small in zip(finest, size, strict=True))


def _cut(start: int, stop: int, step: int) -> Iterator[range]:
    for cell in range(start // step, -(-stop // step)):
        part = range(max(cell * step, start), min((cell + 1) * step, stop))
        if part:
            yield part

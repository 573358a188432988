"""Coarser levels of a map, each from the stored level below it, shard by shard.

A level is half its parent, rounded up. Only shards over something written are made, and memory holds one strip of
chunks and one shard, whatever the size of the slide. Building again gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import InputError
from wsiparse.geometry import Grid, Region
from wsiparse.maps.canvas import Canvas, write_group
from wsiparse.maps.metadata import describe_image, list_levels
from wsiparse.maps.shards import create_like, find_shards, read_pixels, write_shard

Pool = Callable[[NDArray[Any]], NDArray[Any]]
"""Halves the last two axes of an array, rounding up."""


_STRIP_ROWS = 512
"""Rows of a coarse shard made at a time: twice as many fine ones are in memory."""


def build_pyramid(canvas: Canvas) -> None:
    """Write all levels of a finished canvas by mean pooling, then name them in its metadata."""
    levels = list_levels(canvas.grid)
    build_levels(Path(canvas.path), levels, canvas.tiling.block, pool_mean)
    write_group(Path(canvas.path), {"ome": describe_image(Path(canvas.path).name, levels, canvas.targets)})


def choose_levels(canvas: Canvas, level: int) -> tuple[Grid, ...]:
    """The levels of a finished canvas from `level` downwards; InputError where there is none."""
    levels = list_levels(canvas.grid)
    if not 0 <= level < len(levels):
        raise InputError(f"level {level}: {canvas.path} has levels 0 to {len(levels) - 1}; choose one of them")
    return levels[level:]


def build_levels(path: Path, levels: Sequence[Grid], block: int, pool: Pool) -> None:
    """Write arrays "1", "2" … of the group at `path`, cut and typed like its array "0" [..., y, x]."""
    for n, (fine, coarse) in enumerate(pairwise(levels), start=1):
        source, result = path / str(n - 1), path / str(n)
        create_like(result, source, coarse)
        for row, column in sorted({(row // 2, column // 2) for row, column in find_shards(source)}):
            region = Region(column * block, row * block, block, block).intersect(coarse.region)
            write_shard(result, region, _coarsen(source, fine, region, pool))


def pool_mean(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean of each 2 × 2 pixels of [..., h, w], halves rounded up; at an odd edge, of those that exist."""
    values = _make_even(values)
    pairs = np.add(values[..., ::2, :], values[..., 1::2, :], dtype=np.uint16)
    sums = pairs[..., ::2] + pairs[..., 1::2]
    sums += 2
    sums >>= 2
    return sums.astype(np.uint8)  # [..., ceil(h / 2), ceil(w / 2)]


def pool_mode(labels: NDArray[Any]) -> NDArray[Any]:
    """The commonest code of each 2 × 2 pixels of [..., h, w]; the first in reading order where two are as common."""
    labels = _make_even(labels)
    a, b = labels[..., ::2, ::2], labels[..., ::2, 1::2]
    c, d = labels[..., 1::2, ::2], labels[..., 1::2, 1::2]
    first = (a == b) | (a == c) | (a == d)
    second = (b == c) | (b == d)
    return np.where(first, a, np.where(second, b, np.where(c == d, c, a)))  # [..., ceil(h / 2), ceil(w / 2)]


def _make_even(values: NDArray[Any]) -> NDArray[Any]:
    # Repeating the last row gives the same mean, and the same commonest code, as leaving the missing one out.
    height, width = values.shape[-2:]
    if height % 2 == 0 and width % 2 == 0:
        return values
    return np.pad(values, [(0, 0)] * (values.ndim - 2) + [(0, height % 2), (0, width % 2)], mode="edge")


def _coarsen(source: Path, fine: Grid, region: Region, pool: Pool) -> NDArray[Any]:
    strips = [pool(read_pixels(source, _refine(strip, fine))) for strip in _cut_strips(region)]
    return np.concatenate(strips, axis=-2)  # [..., h, w]


def _cut_strips(region: Region) -> Iterator[Region]:
    for y in range(region.y, region.bottom, _STRIP_ROWS):
        yield Region(region.x, y, region.width, min(_STRIP_ROWS, region.bottom - y))


def _refine(region: Region, fine: Grid) -> Region:
    return Region(region.x * 2, region.y * 2, region.width * 2, region.height * 2).intersect(fine.region)

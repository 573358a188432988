"""Coarser levels of a map, each from the stored level below it, shard by shard.

A level is half its parent, rounded up. Only shards over something written are made, and memory holds one strip of
chunks and one shard, whatever the size of the slide. Building again gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import InputError
from wsiparse.geometry import Grid, Region
from wsiparse.maps.canvas import Canvas, write_group
from wsiparse.maps.metadata import describe_image, list_levels
from wsiparse.maps.shards import Shards, create_like, find_shards, open_shards, write_shard
from wsiparse.slides.levels import Size, cut_region

Pool = Callable[[NDArray[Any]], NDArray[Any]]
"""Halves the last two axes of an array, rounding up."""


_STRIP_ROWS = 64
"""Fine rows whose mean is taken at a time: a strip of all intermediates stays in the processor's cache."""


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


def create_levels(path: Path, levels: Sequence[Grid]) -> None:
    """Make arrays "1", "2" … of the group at `path` like its array "0" [..., y, x]; those that are there stay."""
    for n, level in enumerate(levels[1:], start=1):
        if not (path / str(n) / "zarr.json").exists():
            create_like(path / str(n), path / "0", level)


def build_levels(path: Path, levels: Sequence[Grid], block: int, pool: Pool) -> None:
    """Write the arrays that `create_levels` made, shards of `block` a side; those that are there are done."""
    create_levels(path, levels)
    for n in range(1, len(levels)):
        parents = {(row // 2, column // 2) for row, column in find_shards(path / str(n - 1))}
        for place in sorted(parents - find_shards(path / str(n))):
            build_shard(path, levels, n, place, block, pool)


def build_shard(path: Path, levels: Sequence[Grid], n: int, place: tuple[int, int], block: int, pool: Pool) -> None:
    """Write the shard of level `n` at a row and column, from the level below it."""
    row, column = place
    region = Region(column * block, row * block, block, block).intersect(levels[n].region)
    values = _coarsen(path / str(n - 1), levels[n - 1], region, pool)
    write_shard(path / str(n), region, values.reshape(-1, *values.shape[-2:]))


def pool_mean(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean of each 2 × 2 pixels of [..., h, w], halves rounded up; at an odd edge, of those that exist."""
    values = np.ascontiguousarray(_make_even(values))
    *leading, height, width = values.shape
    means = np.empty((*leading, height // 2, width // 2), np.uint8)
    for top in range(0, height, _STRIP_ROWS):
        pairs = values[..., top : top + _STRIP_ROWS, :].view(np.uint16)  # two neighbours in a row are one number
        sums = (pairs & 255) + (pairs >> 8)
        fours = sums[..., ::2, :] + sums[..., 1::2, :]
        fours += 2
        fours >>= 2
        means[..., top // 2 : (top + _STRIP_ROWS) // 2, :] = fours
    return means  # [..., ceil(h / 2), ceil(w / 2)]


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
    shards = open_shards(source)
    values = np.empty((*shards.leading, region.height, region.width), shards.dtype)
    width, height = _choose_cell(shards)
    room = np.empty((*shards.leading, 2 * height, 2 * width), shards.dtype)
    for cell in cut_region(region, (width, height)):
        seen = _refine(cell, fine)
        part = room[..., : seen.height, : seen.width]
        shards.read_into(part, seen)
        values[(..., *cell.shift(-region.x, -region.y).slices)] = pool(part)
    return values  # [..., h, w]


def _choose_cell(shards: Shards) -> Size:
    # One row of a shard's chunks: two cells never share a chunk, so that each is decoded once.
    width, height = (side // 2 if side % 2 == 0 else side for side in (shards.block, shards.chunk))
    return width, height


def _refine(region: Region, fine: Grid) -> Region:
    return Region(region.x * 2, region.y * 2, region.width * 2, region.height * 2).intersect(fine.region)

"""A block's pixels as the batch of tiles that the model sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wsiparse.geometry import Region
from wsiparse.slides.slide import Pixels, Reader
from wsiparse.tiles.plan import Block, Tiling
from wsiparse.tiles.resample import read_grid


@dataclass(frozen=True)
class TileBatch:
    """The tiles of a block; pixels never travel without their place."""

    block: Block
    pixels: Pixels
    """uint8 [N, tile, tile, 3], in the order of `block.cores`."""
    unreadable_pixels: int = 0
    """Source pixels given as nodata because they could not be decoded."""


def read_block(reader: Reader, tiling: Tiling, block: Block) -> TileBatch:
    """Read the tiles of a block: its region is decoded once, overlaps are copied from it."""
    before = reader.unreadable_pixels
    frame = _frame(tiling, block)
    pixels = read_grid(reader, tiling.grid, frame)
    side = tiling.tile
    tiles = np.empty((len(block.cores), side, side, 3), np.uint8)
    for tile, core in zip(tiles, block.cores, strict=True):
        tile[:] = pixels[core.grow(tiling.margin).shift(-frame.x, -frame.y).slices]
    return TileBatch(block, tiles, reader.unreadable_pixels - before)


def _frame(tiling: Tiling, block: Block) -> Region:
    """The smallest region that holds all tiles of the block; it may lie over the edge of the canvas."""
    x, y = min(core.x for core in block.cores), min(core.y for core in block.cores)
    right, bottom = max(core.right for core in block.cores), max(core.bottom for core in block.cores)
    return Region(x, y, right - x, bottom - y).grow(tiling.margin)

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

    def without_pixels(self) -> TileBatch:
        """The same where nobody needs the pixels any more."""
        return TileBatch(self.block, np.empty((0, 0, 0, 3), np.uint8), self.unreadable_pixels)


def read_block(reader: Reader, tiling: Tiling, block: Block) -> TileBatch:
    """Read the tiles of a block: its region is decoded once, overlaps are copied from it.

    What a tile shows beyond the edge of the slide is its own inner part, mirrored.
    """
    before = reader.unreadable_pixels
    frame = _frame(tiling, block)
    pixels = read_grid(reader, tiling.grid, frame)
    side = tiling.tile
    tiles = np.empty((len(block.cores), side, side, 3), np.uint8)
    for tile, core in zip(tiles, block.cores, strict=True):
        place = core.grow(tiling.margin)
        inside = place.intersect(tiling.grid.region)
        tile[inside.shift(-place.x, -place.y).slices] = pixels[inside.shift(-frame.x, -frame.y).slices]
        if inside != place:
            _mirror_edges(tile, inside.shift(-place.x, -place.y))
    return TileBatch(block, tiles, reader.unreadable_pixels - before)


def _frame(tiling: Tiling, block: Block) -> Region:
    """The smallest region that holds all that the block's tiles show of the slide."""
    x, y = min(core.x for core in block.cores), min(core.y for core in block.cores)
    right, bottom = max(core.right for core in block.cores), max(core.bottom for core in block.cores)
    return Region(x, y, right - x, bottom - y).grow(tiling.margin).intersect(tiling.grid.region)


def _mirror_edges(tile: Pixels, inside: Region) -> None:
    # White there looks like the end of the tissue, and a model draws a frame of objects along it. A mirrored tile
    # depends on nothing but itself, so that the size of blocks still changes no byte.
    side = len(tile)
    down, across = (inside.y, side - inside.bottom), (inside.x, side - inside.right)
    tile[:] = np.pad(tile[inside.slices], (down, across, (0, 0)), mode="symmetric")

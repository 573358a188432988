"""A block's pixels as the batch of tiles that the model sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wsiparse.geometry import Grid, Region
from wsiparse.slides.slide import Pixels, Reader
from wsiparse.tiles.plan import Block, Tiling
from wsiparse.tiles.resample import read_grid

BAND_BYTES = 16 << 20
"""Pixels of a block that are held beside its tiles while they are read."""


@dataclass(frozen=True)
class TileBatch:
    """The tiles of a block; pixels never travel without their place."""

    block: Block
    pixels: Pixels
    """uint8 [N, height, width, 3] of `Tiling.shape`, in the order of `block.cores`."""
    unreadable_pixels: int = 0
    """Source pixels given as nodata because they could not be decoded."""

    def without_pixels(self) -> TileBatch:
        """The same where nobody needs the pixels any more."""
        return TileBatch(self.block, np.empty((0, 0, 0, 3), np.uint8), self.unreadable_pixels)


def read_block(reader: Reader, tiling: Tiling, block: Block) -> TileBatch:
    """Read the tiles of a block: its region is decoded once, in bands, and overlaps are copied from them.

    What a tile shows beyond the edge of the slide is its own inner part, mirrored.
    """
    before = reader.unreadable_pixels
    places = [tiling.show(core) for core in block.cores]
    tiles = np.empty((len(places), *tiling.shape, 3), np.uint8)
    for band in _cut_bands(tiling.grid, places):
        pixels = read_grid(reader, tiling.grid, band)
        for tile, place in zip(tiles, places, strict=True):
            part = place.intersect(band)
            if part.area:
                tile[part.shift(-place.x, -place.y).slices] = pixels[part.shift(-band.x, -band.y).slices]
    for tile, place in zip(tiles, places, strict=True):
        inside = place.intersect(tiling.grid.region)
        if inside != place:
            _mirror_edges(tile, inside.shift(-place.x, -place.y))
    return TileBatch(block, tiles, reader.unreadable_pixels - before)


def _cut_bands(grid: Grid, places: Sequence[Region]) -> Iterator[Region]:
    """Bands of rows that together hold, once, all that the tiles at `places` show of the slide."""
    x, y = min(place.x for place in places), min(place.y for place in places)
    right, bottom = max(place.right for place in places), max(place.bottom for place in places)
    frame = Region(x, y, right - x, bottom - y).intersect(grid.region)
    rows = max(BAND_BYTES // (frame.width * 3), 1)
    for top in range(frame.y, frame.bottom, rows):
        yield Region(frame.x, top, frame.width, min(rows, frame.bottom - top))


def _mirror_edges(tile: Pixels, inside: Region) -> None:
    # White there looks like the end of the tissue, and a model draws a frame of objects along it. A mirrored tile
    # depends on nothing but itself, so that the size of blocks still changes no byte.
    height, width = tile.shape[:2]
    down, across = (inside.y, height - inside.bottom), (inside.x, width - inside.right)
    tile[:] = np.pad(tile[inside.slices], (down, across, (0, 0)), mode="symmetric")

"""From tiles back to the map: each pixel of a block is taken from the one tile whose core holds it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wsiparse.tiles.plan import Block, Tiling

Slices = tuple[slice, slice]
"""Rows and columns."""


def stitch_tiles(tiles: NDArray[np.uint8], tiling: Tiling, block: Block) -> Iterator[NDArray[np.uint8]]:
    """A block's maps uint8 [h, w], one target after the other, from predicted tiles [N, K, height, width].

    One by one, for all of them together are as large as the tiles, and each in the place of the one before, for new
    memory costs more than what is put there. Where no core is they are 0.
    """
    places = match_cores(tiling, block)
    canvas = np.zeros((block.region.height, block.region.width), np.uint8)
    for channel in range(tiles.shape[1]):
        for tile, (on_block, in_tile) in zip(tiles, places, strict=True):
            canvas[on_block] = tile[channel, *in_tile]
        yield canvas


def cut_tiles(values: NDArray[np.uint8], tiling: Tiling, block: Block) -> NDArray[np.uint8]:
    """Tiles [N, K, height, width] that `stitch_tiles` makes a block's values [K, h, w] of; 0 around their cores."""
    tiles = np.zeros((len(block.cores), len(values), *tiling.shape), np.uint8)
    for tile, (on_block, in_tile) in zip(tiles, match_cores(tiling, block), strict=True):
        tile[:, *in_tile] = values[:, *on_block]
    return tiles


def match_cores(tiling: Tiling, block: Block) -> list[tuple[Slices, Slices]]:
    """Where each core lies on its block, and where in its tile; what is beyond the block is left out."""
    region, margin = block.region, tiling.margin
    kept = [(core, core.intersect(region)) for core in block.cores]
    return [
        (part.shift(-region.x, -region.y).slices, part.shift(margin - core.x, margin - core.y).slices)
        for core, part in kept
    ]

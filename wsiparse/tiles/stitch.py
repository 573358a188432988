"""From tiles back to the map: each pixel of a block is taken from the one tile whose core holds it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wsiparse.geometry import Region
from wsiparse.tiles.plan import Block, Tiling


def stitch_tiles(tiles: NDArray[np.uint8], tiling: Tiling, block: Block) -> Iterator[NDArray[np.uint8]]:
    """A block's maps uint8 [h, w], one target after the other, from predicted tiles [N, K, tile, tile].

    One by one, for all of them together are as large as the tiles. Where no core is they are 0.
    """
    region = block.region
    for channel in range(tiles.shape[1]):
        canvas = np.zeros((region.height, region.width), np.uint8)
        for tile, core in zip(tiles, block.cores, strict=True):
            kept = core.intersect(region)
            canvas[kept.shift(-region.x, -region.y).slices] = tile[(channel, *kept_slices(tiling, core, kept))]
        yield canvas


def cut_tiles(values: NDArray[np.uint8], tiling: Tiling, block: Block) -> NDArray[np.uint8]:
    """Tiles [N, K, tile, tile] that `stitch_tiles` makes a block's values [K, h, w] of; 0 around their cores."""
    tiles = np.zeros((len(block.cores), len(values), tiling.tile, tiling.tile), np.uint8)
    for tile, core in zip(tiles, block.cores, strict=True):
        kept = core.intersect(block.region)
        place = kept.shift(-block.region.x, -block.region.y).slices
        tile[(slice(None), *kept_slices(tiling, core, kept))] = values[(slice(None), *place)]
    return tiles


def kept_slices(tiling: Tiling, core: Region, kept: Region) -> tuple[slice, slice]:
    """Rows and columns of a tile that show a part of its core."""
    return kept.shift(tiling.margin - core.x, tiling.margin - core.y).slices

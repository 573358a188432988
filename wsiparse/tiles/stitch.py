"""From tiles back to the map: each pixel of a block is taken from the one tile whose core holds it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsiparse.tiles.plan import Block, Tiling


def stitch_tiles(tiles: NDArray[np.uint8], tiling: Tiling, block: Block) -> NDArray[np.uint8]:
    """Place the cores of predicted tiles [N, K, tile, tile] on a block: uint8 [K, h, w], 0 where no core is."""
    region, margin = block.region, tiling.margin
    canvas = np.zeros((tiles.shape[1], region.height, region.width), np.uint8)
    for tile, core in zip(tiles, block.cores, strict=True):
        kept = core.intersect(region)
        rows, columns = kept.shift(margin - core.x, margin - core.y).slices
        target_rows, target_columns = kept.shift(-region.x, -region.y).slices
        canvas[:, target_rows, target_columns] = tile[:, rows, columns]
    return canvas

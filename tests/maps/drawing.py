"""Targets, tilings and maps drawn for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wsiparse.geometry import Grid, Region
from wsiparse.maps.canvas import Canvas, write_block
from wsiparse.ontology import Target
from wsiparse.tiles.plan import Block, Tiling

GLAND = Target("gland", "glandular structure", "tissue", (255, 0, 128), 0.5)
TUMOUR = Target("tumour", "tumour tissue", "tissue", (10, 20, 30), 0.5, threshold=0.6)
NUCLEUS = Target("nucleus", "cell nucleus", "cells/nuclei", (0, 255, 0), 0.5)
TARGETS = (GLAND, TUMOUR, NUCLEUS)
DIGEST = "0123456789abcdef" * 4


def draw_tiling(width: int = 700, height: int = 430, core: int = 128, side: int = 2) -> Tiling:
    return Tiling(Grid(width, height, 0.5), core + 32, 32, side)


def list_blocks(tiling: Tiling) -> Iterator[Block]:
    side = tiling.block
    for row in range(tiling.block_rows):
        for column in range(tiling.block_columns):
            region = Region(column * side, row * side, side, side)
            yield Block(row, column, region.intersect(tiling.grid.region), ())


def draw_maps(grid: Grid, targets: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (targets, grid.height, grid.width), dtype=np.uint8)


def cut(values: NDArray[np.uint8], region: Region) -> NDArray[np.uint8]:
    return values[(..., *region.slices)]


def write_canvas(canvas: Canvas, values: NDArray[np.uint8]) -> None:
    for block in list_blocks(canvas.tiling):
        write_block(canvas, block, cut(values, block.region))

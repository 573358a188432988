"""The plan of a slide: which cores, gathered in which blocks. Arithmetic only.

Each tile is trusted for its core, the tile less a margin on each side. Cores partition the canvas, so every pixel is
predicted once, and a block owns the pixels of its cores alone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import MppError, PlanError
from wsiparse.geometry import Grid, Region
from wsiparse.slides.slide import Slide
from wsiparse.slides.tissue import TissueMask


@dataclass(frozen=True)
class Tiling:
    """How a canvas is cut: pure geometry, the same for every block of a pass."""

    grid: Grid
    """The canvas."""
    tile: int
    """Side of the square the model sees, in canvas pixels."""
    overlap: int
    """Shared width of neighbouring tiles; even."""
    block_tiles: int
    """Cores on each side of a block."""
    stride: int = 0
    """Where a canvas and its margins are lower or narrower than a tile, so are tiles, in steps of this; 0: never."""

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.tile or self.overlap % 2:
            raise PlanError(
                f"overlap {self.overlap} of tiles of {self.tile} pixels: expected an even number from 0 to below the "
                "tile; change overlap"
            )
        if self.block_tiles < 1:
            raise PlanError(f"blocks of {self.block_tiles} tiles a side: expected at least 1; change block_tiles")

    @property
    def margin(self) -> int:
        """Width of the rim of a tile that is not kept."""
        return self.overlap // 2

    @property
    def core(self) -> int:
        """Side of the kept part of a tile."""
        return self.tile - self.overlap

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of what the model sees: of a tile, less what lies beyond a canvas and its margins."""
        return self._clip(self.grid.height), self._clip(self.grid.width)

    def _clip(self, length: int) -> int:
        return min(self.tile, -(-(length + self.overlap) // self.stride) * self.stride) if self.stride else self.tile

    def show(self, core: Region) -> Region:
        """What the model sees around a core."""
        height, width = self.shape
        return Region(core.x - self.margin, core.y - self.margin, width, height)

    @property
    def block(self) -> int:
        """Side of a block in canvas pixels, which is the side of a shard."""
        return self.core * self.block_tiles

    @property
    def block_rows(self) -> int:
        """Rows of blocks that cover the canvas."""
        return -(-self.grid.height // self.block)

    @property
    def block_columns(self) -> int:
        """Columns of blocks that cover the canvas."""
        return -(-self.grid.width // self.block)


@dataclass(frozen=True)
class Block:
    """Some cores of a square of the canvas: one batch, one task, one shard, one unit of resume."""

    row: int
    column: int
    region: Region
    """Canvas pixels that this block alone owns, clipped to the canvas."""
    cores: tuple[Region, ...]
    """The cores to predict, in canvas pixels, not clipped; those without tissue are left out."""


@dataclass(frozen=True)
class TilePlan:
    """The blocks of one slide at one working scale; bound to that slide."""

    slide: Slide
    tiling: Tiling
    blocks: tuple[Block, ...]
    """Blocks with tissue, row by row."""

    @property
    def tiles(self) -> int:
        """How many tiles the model will see."""
        return sum(len(block.cores) for block in self.blocks)

    @property
    def shown_pixels(self) -> int:
        """Canvas pixels that its cores show, less what lies beyond the edge."""
        clipped = (block for block in self.blocks if block.region.area < self.tiling.block**2)
        cores, canvas = (core for block in clipped for core in block.cores), self.tiling.grid.region
        return self.tiles * self.tiling.core**2 - sum(core.area - core.intersect(canvas).area for core in cores)

    @property
    def digest(self) -> str:
        """SHA-256 of slide and cut; a canvas of another digest is never continued."""
        cores = [[(core.x, core.y) for core in block.cores] for block in self.blocks]
        slide = {**asdict(self.slide), "path": ""}  # a slide that was moved is still the same slide
        text = json.dumps([slide, asdict(self.tiling), cores], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


SNAP = 0.03
"""What lies within 3 % of the working mpp is taken for it; the canvas then says its own mpp."""
MOST_MAGNIFIED = 8.0
"""Scale beyond which nothing is there to be seen, and a stated mpp is taken for a slip, such as 20 for 20 times."""


def choose_grid(slide: Slide, mpp: float) -> Grid:
    """The canvas of a slide for a working mpp: the nearest that is made of stored pixels without fractions, else exact.

    That is a stored level where one is close enough, or else one whose pixels are averaged or doubled as a whole.
    Raises MppError where the slide would be magnified more than `MOST_MAGNIFIED` times.
    """
    if slide.mpp > MOST_MAGNIFIED * mpp:
        raise MppError(
            f"{slide.id}: {slide.mpp:g} µm per pixel ({slide.mpp_source}) for what is looked for at {mpp:g}; expected "
            f"at most {MOST_MAGNIFIED:g} times that; correct the mpp, which is no magnification, or name other targets"
        )
    near = min(slide.levels, key=lambda level: abs(level.mpp / mpp - 1))
    if abs(near.mpp / mpp - 1) <= SNAP:
        return near
    stored = slide.levels[slide.best_level(mpp)].mpp
    whole = stored * (0.5 if mpp < 0.75 * stored else round(mpp / stored))
    return slide.grid.at_mpp(whole if abs(whole / mpp - 1) <= SNAP else mpp)


def plan_tiles(slide: Slide, tiling: Tiling, tissue: TissueMask | None = None) -> TilePlan:
    """Plan all cores of a canvas that touch tissue, or all of them where no tissue mask is given."""
    rows, columns = -(-tiling.grid.height // tiling.core), -(-tiling.grid.width // tiling.core)
    wanted = np.ones((rows, columns), bool) if tissue is None else _cores_with_tissue(tiling, tissue, rows, columns)
    places = ((row, column) for row in range(tiling.block_rows) for column in range(tiling.block_columns))
    blocks = (_make_block(tiling, wanted, row, column) for row, column in places)
    return TilePlan(slide, tiling, tuple(block for block in blocks if block.cores))


def _cores_with_tissue(tiling: Tiling, tissue: TissueMask, rows: int, columns: int) -> NDArray[np.bool_]:
    core = tiling.core
    regions = [Region(column * core, row * core, core, core) for row in range(rows) for column in range(columns)]
    return tissue.covered(regions, tiling.grid).reshape(rows, columns)


def _make_block(tiling: Tiling, wanted: NDArray[np.bool_], row: int, column: int) -> Block:
    core, side = tiling.core, tiling.block_tiles
    y, x = row * side, column * side
    places = np.argwhere(wanted[y : y + side, x : x + side])
    cores = tuple(Region(int(x + j) * core, int(y + i) * core, core, core) for i, j in places)
    region = Region(column * tiling.block, row * tiling.block, tiling.block, tiling.block)
    return Block(row, column, region.intersect(tiling.grid.region), cores)

"""Tiles of slides with references as samples, read by the same code as in a run: training sees what a run will see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsiparse.evaluation.names import FRAME
from wsiparse.evaluation.references import JoinedReference
from wsiparse.geometry import Region
from wsiparse.models.tile_sizes import TileSizes
from wsiparse.ontology import Target
from wsiparse.runs.passes import choose_tile, group_passes
from wsiparse.slides.open import reader_of
from wsiparse.slides.slide import Slide
from wsiparse.tiles.plan import Block, Tiling, choose_grid, plan_tiles
from wsiparse.tiles.reading import read_block
from wsiparse.training.dataset import Picture


@dataclass(frozen=True)
class LabelledSlide:
    """A slide, what pathologists say about it, and the targets that they outlined completely."""

    slide: Slide
    reference: JoinedReference
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class SlideTile:
    """One tile of a slide; its pixels are read when they are learned from."""

    source: LabelledSlide
    tiling: Tiling
    core: Region
    known: tuple[str, ...]
    """Targets of this working scale."""
    present: tuple[str, ...]

    def read(self) -> Picture:
        """Pixels as the model will see them in a run; a tile that cannot be decoded is hidden as a whole."""
        batch = read_block(reader_of(self.source.slide), self.tiling, Block(0, 0, self.core, (self.core,)))
        hidden = self._draw_hidden() | bool(batch.unreadable_pixels)
        masks = np.array([self._draw(name) for name in self.present], np.bool_).reshape(-1, *hidden.shape)
        return Picture(batch.pixels[0], masks, tuple((name,) for name in self.present), self.known, hidden)

    def _draw(self, name: str) -> NDArray[np.bool_]:
        drawn = self.source.reference.draw(name, self._inside, self.tiling.grid)
        return self._frame(drawn, outside=False)

    def _draw_hidden(self) -> NDArray[np.bool_]:
        return self._frame(self.source.reference.draw_ignored(self._inside, self.tiling.grid), outside=True)

    @property
    def _place(self) -> Region:
        return self.core.grow(self.tiling.margin)

    @property
    def _inside(self) -> Region:
        return self._place.intersect(self.tiling.grid.region)

    def _frame(self, inner: NDArray[np.bool_], *, outside: bool) -> NDArray[np.bool_]:
        """What is drawn of the slide's part of the tile, within the whole tile."""
        whole = np.full((self.tiling.tile, self.tiling.tile), outside)
        whole[self._inside.shift(-self._place.x, -self._place.y).slices] = inner
        return whole


def list_tiles(source: LabelledSlide, tiles: TileSizes) -> Iterator[SlideTile]:
    """The tiles of a slide that show an outline or a `Region*`, at each working scale of its targets; nothing is read.

    Tiles lie as in a run that leaves the overlap to the engine.
    """
    for part in group_passes(source.targets, tiles):
        grid = choose_grid(source.slide, part.mpp)
        tiling = Tiling(grid, *choose_tile(part, grid, tiles), block_tiles=1)
        names = tuple(target.name for target in part.targets if source.reference.covers(target.name))
        for block in plan_tiles(source.slide, tiling).blocks if names else ():
            yield from _label_core(source, tiling, block.cores[0], names)


def _label_core(source: LabelledSlide, tiling: Tiling, core: Region, names: Sequence[str]) -> Iterator[SlideTile]:
    reference, grid = source.reference, tiling.grid
    inside = core.grow(tiling.margin).intersect(grid.region)
    shown = ~reference.draw_ignored(inside, grid)
    present = tuple(name for name in names if (reference.draw(name, inside, grid) & shown).any())
    if present or (shown & reference.draw(FRAME, inside, grid)).any():
        yield SlideTile(source, tiling, core, tuple(names), present)

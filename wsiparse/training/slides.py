"""Tiles of slides with references as samples, read by the same code as in a run: training sees what a run will see."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from wsiparse.evaluation.names import FRAME
from wsiparse.evaluation.references import JoinedReference
from wsiparse.geometry import Region
from wsiparse.models.tile_sizes import TileSizes
from wsiparse.ontology import Target
from wsiparse.runs.passes import choose_tiling, group_passes
from wsiparse.slides.open import reader_of
from wsiparse.slides.slide import Slide
from wsiparse.tiles.plan import Block, Tiling, choose_grid, plan_tiles
from wsiparse.tiles.reading import read_block
from wsiparse.training.apart import name_apart, set_apart
from wsiparse.training.dataset import Picture
from wsiparse.training.touching import REACH_UM, find_borders


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
    outlined: tuple[str, ...]
    parted: tuple[str, ...]
    """Those among them whose objects are learned apart as well."""

    @property
    def present(self) -> tuple[str, ...]:
        """Names of all that its picture shows."""
        return (*self.outlined, *map(name_apart, self.parted))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the slide's own, of the tile's place and of all that is drawn in it."""
        slide = self.source.slide
        place = (slide.fingerprint or slide.path, self.tiling, self.core, self.known, self.outlined, self.parted)
        digest = hashlib.sha256(repr(place).encode())
        for drawn in (self._draw_hidden(), *map(self._draw, self.outlined)):
            digest.update(np.packbits(drawn).tobytes())
        return digest.hexdigest()

    def read(self) -> Picture:
        """Pixels as the model will see them in a run; a tile that cannot be decoded is hidden as a whole."""
        batch = read_block(reader_of(self.source.slide), self.tiling, Block(0, 0, self.core, (self.core,)))
        hidden = self._draw_hidden() | bool(batch.unreadable_pixels)
        masks = np.array([self._draw(name) for name in self.outlined], np.bool_).reshape(-1, *hidden.shape)
        whole = Picture(batch.pixels[0], masks, tuple((name,) for name in self.outlined), self.known, hidden)
        return set_apart(replace(whole, borders=self._draw_borders()), self.parted)

    @property
    def is_decodable(self) -> bool:
        """Whether it can be read: one that cannot is hidden, though its reference shows some of it."""
        hidden = self.read().hidden
        return hidden is None or not hidden.all()

    def _draw(self, name: str) -> NDArray[np.bool_]:
        drawn = self.source.reference.draw(name, self.inside, self.tiling.grid)
        return self._frame(drawn, outside=False)

    def _draw_borders(self) -> NDArray[np.bool_] | None:
        grid = self.tiling.grid
        objects = [self.source.reference.number_objects(name, self.inside, grid) for name in self.parted]
        reach = max(round(REACH_UM / grid.mpp), 1)
        borders = [find_borders(numbers, reach) for numbers in objects if numbers is not None]
        return self._frame(np.logical_or.reduce(borders), outside=False) if borders else None

    def _draw_hidden(self) -> NDArray[np.bool_]:
        return self._frame(self.source.reference.draw_ignored(self.inside, self.tiling.grid), outside=True)

    @property
    def _place(self) -> Region:
        return self.tiling.show(self.core)

    @property
    def inside(self) -> Region:
        """The slide's part of the tile, in pixels of the working grid."""
        return self._place.intersect(self.tiling.grid.region)

    def _frame(self, inner: NDArray[np.bool_], *, outside: bool) -> NDArray[np.bool_]:
        """What is drawn of the slide's part of the tile, within the whole tile."""
        whole = np.full(self.tiling.shape, outside)
        whole[self.inside.shift(-self._place.x, -self._place.y).slices] = inner
        return whole


def list_tiles(source: LabelledSlide, tiles: TileSizes, apart: Collection[str]) -> Iterator[SlideTile]:
    """The tiles of a slide that show an outline or a `Region*`, at each working scale of its targets; nothing is read.

    Of targets named by `apart` the objects are learned apart where the reference tells them so. Tiles lie as in a run
    that leaves the overlap to the engine.
    """
    for part in group_passes(source.targets, tiles):
        tiling = choose_tiling(part, choose_grid(source.slide, part.mpp), tiles)
        names = tuple(target.name for target in part.targets if source.reference.covers(target.name))
        parted = tuple(n for n in names if n in apart and source.reference.list_objects(n) is not None)
        drawn = _find_drawn(source, names)
        for block in plan_tiles(source.slide, tiling).blocks if names else ():
            tile = SlideTile(source, tiling, block.cores[0], names, names, parted)
            if (drawn is None or _meets(tile, drawn)) and (labelled := _label_core(tile)):
                yield labelled


def _find_drawn(source: LabelledSlide, names: Collection[str]) -> shapely.STRtree | None:
    """All outlines of some targets and all frames, by place; None where the reference shows pixels alone."""
    layers = [source.reference.list_objects(name) for name in (*names, FRAME)]
    known = [outlines for outlines in layers if outlines is not None]
    return shapely.STRtree(np.concatenate(known)) if len(known) == len(layers) else None


def _meets(tile: SlideTile, drawn: shapely.STRtree) -> bool:
    """Whether anything may be drawn in a tile: most of a slide shows nothing, and drawing that takes long."""
    inside, scale = tile.inside.grow(1), tile.source.slide.grid.scale_to(tile.tiling.grid)
    edges = np.array([inside.x, inside.y, inside.right, inside.bottom]) / scale
    return bool(drawn.query(shapely.box(*edges)).size)


def _label_core(tile: SlideTile) -> SlideTile | None:
    """The tile with what is outlined in it; None where its reference says nothing about it."""
    reference, inside, grid = tile.source.reference, tile.inside, tile.tiling.grid
    shown = ~reference.draw_ignored(inside, grid)
    outlined = tuple(name for name in tile.known if (reference.draw(name, inside, grid) & shown).any())
    if not outlined and not (shown & reference.draw(FRAME, inside, grid)).any():
        return None
    return replace(tile, outlined=outlined, parted=tuple(name for name in tile.parted if name in outlined))

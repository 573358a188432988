"""A slide small: as it is, with its probability maps, and with its reference, all of the same frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsiparse.evaluation.references import Reference
from wsiparse.geometry import Grid
from wsiparse.maps.canvas import Canvas, list_canvases, read_region
from wsiparse.maps.metadata import list_levels
from wsiparse.ontology import Target
from wsiparse.slides.slide import Pixels, Reader
from wsiparse.slides.thumbnail import read_thumbnail

OPACITY = 0.5
"""Of a colour where the probability is 1, or a reference covers a whole pixel; the tissue must be seen through it."""
GREY = (120, 120, 120)
FINER = 4
"""References are drawn so much finer than the picture, and averaged: small objects must not vanish between pixels."""


@dataclass(frozen=True)
class Thumbnail:
    """A whole slide in few pixels."""

    pixels: Pixels
    """RGB [h, w, 3]."""
    grid: Grid

    @property
    def image(self) -> Image.Image:
        """The same as a picture."""
        return Image.fromarray(self.pixels)


def make_thumbnail(reader: Reader, side: int) -> Thumbnail:
    """A slide in at most `side` pixels on its longer side."""
    full = reader.slide.grid
    grid = full.at_mpp(full.mpp * max(max(full.width, full.height) / side, 1.0))
    pixels, _ = read_thumbnail(reader, grid.mpp)
    shown = Image.fromarray(pixels).resize((grid.width, grid.height), Image.Resampling.BOX)
    return Thumbnail(np.asarray(shown), grid)


def paint_maps(thumbnail: Thumbnail, store: Path) -> Image.Image:
    """The slide under its probability maps, each pixel in the colour of its most probable target."""
    painted = thumbnail.pixels.astype(np.float32)
    for canvas in list_canvases(store):
        probabilities = _sample_canvas(canvas, thumbnail.grid)  # [K, h, w]
        colors = np.array([target.color for target in canvas.targets], np.float32)
        best = colors[probabilities.argmax(axis=0)]  # [h, w, 3]
        painted = _blend(painted, best, probabilities.max(axis=0) / np.float32(255))
    return _finish(painted)


def paint_reference(thumbnail: Thumbnail, reference: Reference, targets: Sequence[Target]) -> Image.Image:
    """The slide under its reference; grey is what was not compared."""
    painted = thumbnail.pixels.astype(np.float32)
    for color, share in _share_reference(thumbnail.grid, reference, targets):
        painted = _blend(painted, np.array(color, np.float32), share)
    return _finish(painted)


def _share_reference(
    grid: Grid, reference: Reference, targets: Sequence[Target]
) -> Iterator[tuple[Sequence[int], NDArray[np.float32]]]:
    """Colours, and how much of each pixel they cover [h, w]."""
    fine = Grid(grid.width * FINER, grid.height * FINER, grid.mpp / FINER)
    masks = ((t.color, reference.draw(t.name, fine.region, fine)) for t in targets if reference.covers(t.name))
    for color, mask in (*masks, (GREY, reference.draw_ignored(fine.region, fine))):
        yield color, mask.reshape(grid.height, FINER, grid.width, FINER).mean(axis=(1, 3), dtype=np.float32)


def _sample_canvas(canvas: Canvas, grid: Grid) -> NDArray[np.uint8]:
    """Probabilities [K, h, w] on a coarse grid, from the coarsest level that is as fine."""
    levels = list_levels(canvas.grid)
    number = max((n for n, level in enumerate(levels) if level.mpp <= grid.mpp), default=0)
    level = levels[number]
    columns, rows = (_locate(size, grid, level) for size in (grid.width, grid.height))
    values = read_region(canvas, level.region, number)
    picked: NDArray[np.uint8] = values[:, np.minimum(rows, level.height - 1)][..., np.minimum(columns, level.width - 1)]
    return picked


def _locate(size: int, grid: Grid, level: Grid) -> NDArray[np.int64]:
    places: NDArray[np.int64] = np.floor((np.arange(size) + 0.5) * grid.scale_to(level)).astype(np.int64)
    return places


def _blend(painted: NDArray[np.float32], color: NDArray[np.float32], share: NDArray[np.float32]) -> NDArray[np.float32]:
    opacity = OPACITY * share[..., None]  # [h, w, 1]
    return np.asarray(painted * (1 - opacity) + color * opacity)


def _finish(painted: NDArray[np.float32]) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(painted), 0, 255).astype(np.uint8))

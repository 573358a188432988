"""Where prediction and reference agree least and most: the tiles of an evaluated run that are worth a look."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from wsiparse.errors import WsiparseError
from wsiparse.evaluation.evaluate import count_pixels
from wsiparse.evaluation.references import Reference
from wsiparse.evaluation.scores import Score
from wsiparse.geometry import Region
from wsiparse.maps.labels import LabelImage, read_labels
from wsiparse.runs.finished import FinishedSlide
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.references import References, describe_slide
from wsiparse.runs.run import Run
from wsiparse.slides.levels import cut_region
from wsiparse.slides.open import open_slide
from wsiparse.slides.slide import Reader
from wsiparse.tiles.plan import Tiling
from wsiparse.tiles.resample import read_grid
from wsiparse.views.markup import Html, embed_image, escape, join

TILES = 3
"""Tiles of each target that are shown of the worst, and as many of the best."""
SIDE = 256
"""Longest side of a picture, in pixels."""
PREDICTED, DRAWN, SHARED = (0, 90, 255), (255, 210, 0), (0, 190, 60)
"""Colours of the outlines: of the prediction, of the reference, and of both."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ScoredTile:
    """A region about as large as a tile, where prediction or reference have a pixel of a target."""

    row: ManifestRow
    image: LabelImage
    code: int
    region: Region
    """Pixels of the label map."""
    score: Score


@dataclass(frozen=True, eq=False)
class Extremes:
    """The tiles of one target with the lowest and with the highest Dice; of equals the fullest, then the first."""

    worst: tuple[ScoredTile, ...] = ()
    best: tuple[ScoredTile, ...] = ()

    def add(self, tile: ScoredTile) -> Extremes:
        """These with one more; no more than `TILES` of either are kept."""
        worst = sorted((*self.worst, tile), key=lambda known: (known.score.dice, -_count_pixels(known.score)))
        best = sorted((*self.best, tile), key=lambda known: (-known.score.dice, -_count_pixels(known.score)))
        return Extremes(tuple(worst[:TILES]), tuple(best[:TILES]))


def find_extremes(run: Run, rows: Sequence[ManifestRow], references: References) -> dict[str, Extremes]:
    """The extremes of each target, in the order in which targets come; a block of labels is in memory at a time.

    Slides whose reference is missing or cannot be read are left out, and those without tissue.
    """
    found: dict[str, Extremes] = {}
    for row in (row for row in rows if row.id in references.files):
        with suppress(WsiparseError):
            for tile in _score_slide(run, row, references):
                found[tile.score.target] = found.get(tile.score.target, Extremes()).add(tile)
    return found


def _score_slide(run: Run, row: ManifestRow, references: References) -> Iterator[ScoredTile]:
    finished = FinishedSlide(run, describe_slide(run, row), run.targets)
    reference = references.read(finished.slide, finished.finest_mpp)
    for part in finished.parts:
        if part.image:
            yield from _score_labels(row, part.image, reference)


def _score_labels(row: ManifestRow, image: LabelImage, reference: Reference) -> Iterator[ScoredTile]:
    tiling, grid, side = image.canvas.tiling, image.canvas.grid, _choose_side(image.canvas.tiling)
    judged = [(code, target) for code, target in enumerate(image.targets, 1) if reference.covers(target.name)]
    for block in cut_region(grid.region, (tiling.block, tiling.block)):
        labels, ignored = read_labels(image, block), reference.draw_ignored(block, grid)
        for code, target in judged:
            masks = (labels == code) & ~ignored, reference.draw(target.name, block, grid) & ~ignored
            for region in cut_region(Region(0, 0, block.width, block.height), (side, side)):
                score = _score_masks(row.id, target.name, [mask[region.slices] for mask in masks])
                if _count_pixels(score):
                    yield ScoredTile(row, image, code, region.shift(block.x, block.y), score)


def _choose_side(tiling: Tiling) -> int:
    """The side nearest to a tile's that cuts a block evenly: a sliver would be the worst of them."""
    return math.ceil(tiling.block / max(round(tiling.block / tiling.tile), 1))


def _score_masks(slide: str, target: str, masks: Sequence[Mask]) -> Score:
    predicted, drawn = masks
    return Score(slide, target, *count_pixels(predicted, drawn))


def _count_pixels(score: Score) -> int:
    return score.predicted + score.reference


def draw_extremes(run: Run, extremes: Mapping[str, Extremes], references: References) -> Html:
    """For each target a row of its worst tiles and one of its best; a tile that is among both is a worst one."""
    tiles = [tile for found in extremes.values() for tile in (*found.worst, *found.best)]
    figures = _draw_tiles(run, list(dict.fromkeys(tiles)), references)
    rows = (
        (f"{target}, {name}", [figures[tile] for tile in part])
        for target, found in extremes.items()
        for name, part in (("least", found.worst), ("most", [tile for tile in found.best if tile not in found.worst]))
    )
    return join(Html(f'<p>{escape(name)}</p>\n<div class="slides">{join(part)}</div>') for name, part in rows if part)


def _draw_tiles(run: Run, tiles: Sequence[ScoredTile], references: References) -> Mapping[ScoredTile, Html]:
    """The figure of each tile; each slide and its reference are opened once."""
    figures: dict[ScoredTile, Html] = {}
    for row in dict.fromkeys(tile.row.id for tile in tiles):
        mine = [tile for tile in tiles if tile.row.id == row]
        try:
            figures |= _draw_slide(run, mine, references)
        except WsiparseError as error:
            figures |= dict.fromkeys(mine, Html(f'<p class="failed">{escape(error)}</p>'))
    return figures


def _draw_slide(run: Run, tiles: Sequence[ScoredTile], references: References) -> dict[ScoredTile, Html]:
    row, summary = tiles[0].row, run.summary(tiles[0].row.id)
    finest = min(tile.image.canvas.grid.mpp for tile in tiles)
    reference = references.read(describe_slide(run, row), finest)
    reader = open_slide(summary["path"], id=row.id, mpp=summary["mpp"])
    figures = {tile: _draw_figure(reader, tile, reference) for tile in tiles}
    reader.close()
    return figures


def _draw_figure(reader: Reader, tile: ScoredTile, reference: Reference) -> Html:
    place = reader.slide.grid.cover(tile.region, tile.image.canvas.grid)
    where = f"{place.x}, {place.y}, {place.width} × {place.height}"
    caption = f"{tile.row.id} · {where} · Dice {tile.score.dice:.3f}"
    picture = embed_image(paint_tile(reader, tile, reference), f"{tile.score.target} in {tile.row.id} at {where}")
    return Html(f"<figure><div>{picture}</div><figcaption>{escape(caption)}</figcaption></figure>")


def paint_tile(reader: Reader, tile: ScoredTile, reference: Reference) -> Image.Image:
    """A tile of the slide with the outlines of prediction and reference, in at most `SIDE` pixels."""
    grid, region = tile.image.canvas.grid, tile.region
    ignored = reference.draw_ignored(region, grid)
    slide = Image.fromarray(read_grid(reader, grid, region))
    slide.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    painted = np.array(slide)
    predicted = _outline((read_labels(tile.image, region) == tile.code) & ~ignored, slide.size)
    drawn = _outline(reference.draw(tile.score.target, region, grid) & ~ignored, slide.size)
    for color, line in ((PREDICTED, predicted), (DRAWN, drawn), (SHARED, predicted & drawn)):
        painted[line] = color
    return Image.fromarray(painted)


def _outline(mask: Mask, size: tuple[int, int]) -> Mask:
    """The border of a mask in a picture of (width, height); the frame is no border."""
    small = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    return np.asarray(small & ~ndimage.binary_erosion(small, iterations=2, border_value=1))

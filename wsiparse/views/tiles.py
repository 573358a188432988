"""The tiles of an evaluated run on which prediction and reference agree least and most, drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from wsiparse.errors import DamagedError, ReferenceFileError, WsiparseError
from wsiparse.evaluation.extremes import Extremes, ScoredTile
from wsiparse.evaluation.references import Reference
from wsiparse.maps.labels import LabelImage, list_labels, read_labels
from wsiparse.runs.references import References, describe_slide
from wsiparse.runs.results import find_maps
from wsiparse.runs.run import FINISHED, Run
from wsiparse.slides.open import make_reader
from wsiparse.slides.slide import Reader
from wsiparse.tiles.resample import read_grid
from wsiparse.views.markup import Html, embed_image, escape, join

SIDE = 256
"""Longest side of a picture, in pixels."""
PREDICTED, DRAWN, SHARED = (0, 90, 255), (255, 210, 0), (0, 190, 60)
"""Colours of the outlines: of the prediction, of the reference, and of both."""

Mask = NDArray[np.bool_]


def draw_extremes(run: Run, extremes: Mapping[str, Extremes], references: References) -> Html:
    """For each target a row of its worst tiles and one of its best; a tile that is among both is a worst one.

    Tiles of slides that are not finished any more, as those that are to be parsed anew, are left out.
    """
    tiles = [tile for found in extremes.values() for tile in (*found.worst, *found.best)]
    figures = _draw_tiles(run, list(dict.fromkeys(tiles)), references)
    rows = (
        (f"{target}: {name} agreement", [figures[tile] for tile in part if tile in figures])
        for target, found in extremes.items()
        for name, part in (("least", found.worst), ("most", [tile for tile in found.best if tile not in found.worst]))
    )
    return join(Html(f'<p>{escape(name)}</p>\n<div class="slides">{join(part)}</div>') for name, part in rows if part)


def _draw_tiles(run: Run, tiles: Sequence[ScoredTile], references: References) -> Mapping[ScoredTile, Html]:
    """The figure of each tile of a finished slide; each slide and its reference are opened once."""
    figures: dict[ScoredTile, Html] = {}
    for slide in [slide for slide in dict.fromkeys(tile.score.slide for tile in tiles) if run.state(slide) in FINISHED]:
        mine = [tile for tile in tiles if tile.score.slide == slide]
        try:
            figures |= _draw_slide(run, mine, references)
        except WsiparseError as error:
            figures |= dict.fromkeys(mine, Html(f'<p class="failed">{escape(error)}</p>'))
    return figures


def _draw_slide(run: Run, tiles: Sequence[ScoredTile], references: References) -> dict[ScoredTile, Html]:
    slide = describe_slide(run, run.row(tiles[0].score.slide))
    if slide.id not in references.files:
        raise ReferenceFileError(f"{slide.id}: its reference is gone; bring it back, or run `wsiparse evaluate` again")
    images = {tile: find_labels(run, tile) for tile in tiles}
    finest = min(image.canvas.grid.mpp for image in images.values())
    reference = references.read(slide, finest)
    with closing(make_reader(slide)) as reader:
        return {tile: _draw_figure(reader, tile, image, reference) for tile, image in images.items()}


def find_labels(run: Run, tile: ScoredTile) -> LabelImage:
    """The label map that a tile is of; DamagedError where it is gone, as to save room."""
    images = [image for canvas in find_maps(run, tile.score.slide) for image in list_labels(canvas)]
    for image in images:
        if Path(image.canvas.path).name == tile.map and tile.score.target in {target.name for target in image.targets}:
            return image
    store = run.folder(tile.score.slide) / "parse.zarr"
    raise DamagedError(f"{store}/{tile.map}: no labels of {tile.score.target} there; run `wsiparse evaluate` again")


def _draw_figure(reader: Reader, tile: ScoredTile, image: LabelImage, reference: Reference) -> Html:
    place, score = reader.slide.grid.cover(tile.region, image.canvas.grid), tile.score
    where = f"{place.x}, {place.y}, {place.width} × {place.height}"
    caption = f"{score.slide} · {where} · Dice {score.dice:.3f}"
    picture = embed_image(paint_tile(reader, tile, image, reference), f"{score.target} in {score.slide} at {where}")
    return Html(f"<figure><div>{picture}</div><figcaption>{escape(caption)}</figcaption></figure>")


def paint_tile(reader: Reader, tile: ScoredTile, image: LabelImage, reference: Reference) -> Image.Image:
    """A tile of the slide with the outlines of prediction and reference, in at most `SIDE` pixels."""
    grid, region, target = image.canvas.grid, tile.region, tile.score.target
    code = [known.name for known in image.targets].index(target) + 1
    ignored = reference.draw_ignored(region, grid)
    slide = Image.fromarray(read_grid(reader, grid, region))
    slide.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    painted = np.array(slide)
    predicted = _outline((read_labels(image, region) == code) & ~ignored, slide.size)
    drawn = _outline(reference.draw(target, region, grid) & ~ignored, slide.size)
    for color, line in ((PREDICTED, predicted), (DRAWN, drawn), (SHARED, predicted & drawn)):
        painted[line] = color
    return Image.fromarray(painted)


def _outline(mask: Mask, size: tuple[int, int]) -> Mask:
    """The border of a mask in a picture of (width, height); the frame is no border."""
    small = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    return np.asarray(small & ~ndimage.binary_erosion(small, iterations=2, border_value=1))

"""A slide with its outlines as one picture, for a README, a talk or a first look."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wsiparse.errors import InputError
from wsiparse.files import write_whole
from wsiparse.geometry import Grid, Region
from wsiparse.ontology import Ontology, Target
from wsiparse.runs.references import describe_slide
from wsiparse.runs.results import Results, find_done
from wsiparse.runs.run import Run
from wsiparse.slides.open import make_reader
from wsiparse.tiles.resample import read_grid

MOST_PIXELS = 64_000_000
"""Pixels of a slide in a picture; drawing takes some 20 bytes for each."""
FILL_OPACITY = 60
"""Of 255: the tissue must stay readable under a region."""


@dataclass(frozen=True)
class Frame:
    """What a picture shows: a region of level 0, drawn so that its longer side has `side` pixels at most."""

    region: Region | None = None
    """Level-0 pixels; None shows the whole slide."""
    side: int = 1200
    targets: tuple[str, ...] = ()
    """Names of the targets that are drawn; empty draws all."""

    def __post_init__(self) -> None:
        if self.side < 1:
            raise InputError(f"a picture of {self.side} pixels: expected 1 or more")

    def place(self, full: Grid) -> tuple[Grid, Region]:
        """The grid of the picture over a slide, and the region of it that is shown.

        Raises InputError where that is none, or more than can be drawn.
        """
        shown = self.region or full.region
        if not shown.intersect(full.region).area:
            place = f"{shown.x},{shown.y},{shown.width},{shown.height}"
            raise InputError(
                f"region {place}: nothing of the slide; expected x,y,width,height within {full.width} × {full.height}"
            )
        grid = full.at_mpp(full.mpp * max(max(shown.width, shown.height) / self.side, 1.0))
        drawn = grid.cover(shown, full)
        if drawn.area > MOST_PIXELS:
            raise InputError(
                f"a picture of {drawn.width} × {drawn.height} pixels: expected {MOST_PIXELS:,} at most; give a smaller "
                "--side or --region"
            )
        return grid, drawn


def draw_picture(run: Run, slide_id: str, path: Path, frame: Frame) -> None:
    """Draw a slide and, right of it, the same with every outline in its target's colour.

    Raises InputError where the slide is not done, or the frame shows nothing of it or a target that nobody knows.
    """
    slide = describe_slide(run, run.row(find_done(run, slide_id)))
    grid, region = frame.place(slide.grid)
    with closing(make_reader(slide)) as reader:
        shown = Image.fromarray(read_grid(reader, grid, region))
    drawn = _draw_outlines(shown, run, _read_outlines(run, slide_id, frame), (slide.grid.scale_to(grid), region))
    pair = Image.new("RGB", (shown.width * 2 + 16, shown.height), "white")
    pair.paste(shown, (0, 0))
    pair.paste(drawn, (shown.width + 16, 0))
    with write_whole(path) as partial:
        pair.save(partial, format="PNG", optimize=True)


def _read_outlines(run: Run, slide_id: str, frame: Frame) -> geopandas.GeoDataFrame:
    outlines, known = Results(run).annotations(slide_id), Ontology(run.targets)
    names = [known.find(name).name for name in frame.targets]
    return outlines[outlines["target"].isin(names)] if names else outlines


def _draw_outlines(
    slide: Image.Image, run: Run, outlines: geopandas.GeoDataFrame, place: tuple[float, Region]
) -> Image.Image:
    scale, region = place
    targets = {target.name: target for target in run.targets}
    moved = move_geometries(outlines.geometry.to_numpy(), scale, region)
    picture = slide.convert("RGBA")
    # Large outlines first, so that what lies inside them is not painted over.
    for n in np.argsort(-shapely.area(moved), kind="stable"):
        if shapely.intersects(moved[n], shapely.box(0, 0, *slide.size)):
            for polygon in shapely.get_parts(moved[n]):
                _draw_polygon(picture, polygon, targets[outlines["target"].iloc[n]])
    return picture.convert("RGB")


def move_geometries(geometries: NDArray[np.object_], scale: float, region: Region) -> NDArray[np.object_]:
    """Geometries in level-0 pixels as pixels of a picture of `region`."""
    corner = np.array([region.x, region.y])
    moved: NDArray[np.object_] = shapely.transform(geometries, lambda points: points * scale - corner)
    return moved


def _draw_polygon(picture: Image.Image, polygon: shapely.Polygon, target: Target) -> None:
    left, top, right, bottom = (int(value) for value in polygon.bounds)
    left, top = max(left - 2, 0), max(top - 2, 0)
    size = (min(right + 3, picture.width) - left, min(bottom + 3, picture.height) - top)
    layer = Image.new("RGBA", size)
    pen = ImageDraw.Draw(layer)
    rings = [[(x - left, y - top) for x, y in ring.coords] for ring in (polygon.exterior, *polygon.interiors)]
    pen.polygon(rings[0], fill=(*target.color, FILL_OPACITY))
    for hole in rings[1:]:
        pen.polygon(hole, fill=(0, 0, 0, 0))
    for ring in rings:
        pen.line(ring, fill=(*target.color, 255), width=1 if target.instances else 2)
    picture.alpha_composite(layer, (left, top))

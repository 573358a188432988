"""A slide with its outlines as one picture, for a README, a talk or a first look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wsiparse.errors import InputError
from wsiparse.files import write_whole
from wsiparse.geometry import Grid
from wsiparse.ontology import Target
from wsiparse.runs.results import Results
from wsiparse.runs.run import Run, State
from wsiparse.slides.open import open_slide
from wsiparse.tiles.resample import read_grid

FILL_OPACITY = 60
"""Of 255: the tissue must stay readable under a region."""


def draw_picture(run: Run, slide_id: str, path: Path, side: int = 1600) -> None:
    """Draw a slide and, right of it, the same with every outline in its target's colour; `side` is the longer one's."""
    if run.state(slide_id) is not State.DONE:
        raise InputError(f"{run.path}: slide {slide_id!r} is {run.state(slide_id)}, expected one that is done")
    grid, pixels = _read_slide(run, slide_id, side)
    slide = Image.fromarray(pixels)
    drawn = _draw_outlines(slide, run, slide_id, grid)
    pair = Image.new("RGB", (slide.width * 2 + 16, slide.height), "white")
    pair.paste(slide, (0, 0))
    pair.paste(drawn, (slide.width + 16, 0))
    with write_whole(path) as partial:
        pair.save(partial, format="PNG", optimize=True)


def _read_slide(run: Run, slide_id: str, side: int) -> tuple[Grid, NDArray[np.uint8]]:
    summary = run.summary(slide_id)
    reader = open_slide(summary["path"], id=slide_id, mpp=summary["mpp"])
    full = reader.slide.grid
    grid = full.at_mpp(max(full.mpp * max(full.width, full.height) / side, full.mpp))
    return grid, read_grid(reader, grid, grid.region)


def _draw_outlines(slide: Image.Image, run: Run, slide_id: str, grid: Grid) -> Image.Image:
    summary, colors = run.summary(slide_id), {entry["name"]: Target(**entry).color for entry in run.record["targets"]}
    frame = Results(run).annotations(slide_id)
    layer = Image.new("RGBA", slide.size)
    pen = ImageDraw.Draw(layer)
    scale = summary["mpp"] / grid.mpp
    # Large outlines first, so that what lies inside them is not painted over.
    for name, geometry in sorted(zip(frame["target"], frame.geometry, strict=True), key=lambda pair: -pair[1].area):
        for polygon in shapely.get_parts(geometry):
            _draw_polygon(pen, polygon, scale, colors[name])
    return Image.alpha_composite(slide.convert("RGBA"), layer).convert("RGB")


def _draw_polygon(
    pen: ImageDraw.ImageDraw, polygon: shapely.Polygon, scale: float, color: tuple[int, int, int]
) -> None:
    shell = [(x * scale, y * scale) for x, y in polygon.exterior.coords]
    pen.polygon(shell, fill=(*color, FILL_OPACITY))
    for ring in (polygon.exterior, *polygon.interiors):
        pen.line([(x * scale, y * scale) for x, y in ring.coords], fill=(*color, 255), width=2)

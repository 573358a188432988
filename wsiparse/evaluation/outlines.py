"""References that a person drew as outlines, turned into pixels where they are compared."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.geojson import read_geojson
from wsiparse.evaluation.names import FRAME, IGNORED, TargetNames
from wsiparse.geometry import Grid, Region
from wsiparse.slides.slide import Slide

Mask = NDArray[np.bool_]
"""Pixels of a region [h, w]."""

_STEPS = 4096
"""Outlines are drawn from corners rounded to this fraction of a pixel."""


class OutlineReference:
    """The annotations of one file; it speaks for every target, whether it was drawn or not.

    A pixel belongs to an outline where its centre lies inside, to one of the two where it lies on their border.
    """

    def __init__(self, annotations: Iterable[tuple[str, Annotation]], grid: Grid) -> None:
        """Take annotations with what each means (a target, FRAME or IGNORED) and the slide's level 0."""
        self._grid = grid
        by_meaning: dict[str, list[shapely.Geometry]] = {}
        for meaning, annotation in annotations:
            by_meaning.setdefault(meaning, []).append(annotation.polygon)
        self._layers = {meaning: _Layer(polygons) for meaning, polygons in by_meaning.items()}

    def covers(self, target: str) -> bool:
        """True: what is not outlined is not there."""
        return True

    def draw(self, target: str, region: Region, grid: Grid) -> Mask:
        """Pixels of a target in a region of a grid."""
        return self._draw(target, region, grid)

    def draw_ignored(self, region: Region, grid: Grid) -> Mask:
        """Pixels that are not compared: under ignored outlines, or outside all frames where there is one."""
        ignored = self._draw(IGNORED, region, grid)
        return ignored | ~self._draw(FRAME, region, grid) if FRAME in self._layers else ignored

    def _draw(self, meaning: str, region: Region, grid: Grid) -> Mask:
        layer = self._layers.get(meaning)
        return layer.draw(region, self._grid.scale_to(grid)) if layer else _blank(region)


class _Layer:
    """Polygons of one meaning in level-0 pixels, found by place."""

    def __init__(self, polygons: list[shapely.Geometry]) -> None:
        self._polygons = np.array(polygons, dtype=object)
        self._tree = shapely.STRtree(polygons)

    def draw(self, region: Region, scale: float) -> Mask:
        edges = np.array([region.x, region.y, region.right, region.bottom]) / scale
        found = self._polygons[self._tree.query(shapely.box(*edges))]
        # On these small steps the rasteriser's arithmetic is exact: a centre on a slanted edge falls to the same side
        # whichever region it is drawn in.
        placed = shapely.transform(
            found, lambda points: np.rint(points * scale * _STEPS) / _STEPS - (region.x, region.y)
        )
        return _burn(list(placed), region)


def read_outlines(path: Path, slide: Slide, names: TargetNames) -> OutlineReference:
    """Read a GeoJSON file of a slide; ReferenceFileError where a class is unknown or the file cannot be read."""
    annotations = read_geojson(path, slide).annotations
    meanings = names.resolve_all((annotation.target for annotation in annotations), path)
    return OutlineReference(((meanings[annotation.target], annotation) for annotation in annotations), slide.grid)


def _burn(polygons: list[shapely.Geometry], region: Region) -> Mask:
    if not polygons:
        return _blank(region)
    return np.asarray(rasterize(polygons, (region.height, region.width), dtype="uint8")).view(np.bool_)  # [h, w]


def _blank(region: Region) -> Mask:
    return np.zeros((region.height, region.width), np.bool_)

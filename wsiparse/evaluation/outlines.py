"""References that a person drew as outlines, turned into pixels where they are compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.geojson import Labels
from wsiparse.annotations.labels import read_annotations
from wsiparse.annotations.mapping import WITHIN
from wsiparse.annotations.outlines import Polygons
from wsiparse.errors import ReferenceFileError
from wsiparse.evaluation.names import FRAME, IGNORED, TargetNames
from wsiparse.geometry import Grid, Region
from wsiparse.slides.slide import Slide

Mask = NDArray[np.bool_]
"""Pixels of a region [h, w]."""

_NO_LABELS = Labels(())
_STEPS = 4096
"""Outlines are drawn from corners rounded to this fraction of a pixel."""


class OutlineReference:
    """The annotations of one file; it speaks for every target, drawn or not, unless it was made for one.

    Where some are drawn coarsely, around many things at once, it speaks for the others that are drawn alone. Where all
    that the file holds is ignored or encloses no area, it speaks for none: nobody said that anything was looked for.

    A pixel belongs to an outline where its centre lies inside, to one of the two where it lies on their border.
    """

    def __init__(
        self,
        annotations: Iterable[tuple[str, Annotation]],
        grid: Grid,
        made_for: str = "",
        labels: Labels = _NO_LABELS,
    ) -> None:
        """Take annotations with what each means (a target, alone or after WITHIN, FRAME or IGNORED) and level 0.

        `labels` is all that the file held.
        """
        self._grid = grid
        self._made_for = made_for
        by_meaning: dict[str, list[shapely.Geometry]] = {}
        unclassified = 0
        for meaning, annotation in annotations:
            by_meaning.setdefault(meaning, []).append(annotation.polygon)
            unclassified += meaning == IGNORED and not annotation.target
        self._layers = {meaning: _Layer(polygons) for meaning, polygons in by_meaning.items()}
        self._is_silent = bool(self._layers or labels.skipped) and self._layers.keys() <= {IGNORED}
        beyond = sum(layer.count_beyond(grid.region) for layer in self._layers.values())
        self.remarks = tuple(_list_remarks(labels, unclassified, beyond))

    @property
    def only_frames(self) -> bool:
        """Whether all that was drawn is frames, and what is ignored in them."""
        return FRAME in self._layers and self._layers.keys() <= {FRAME, IGNORED}

    def covers(self, target: str) -> bool:
        """True for all targets, as what is not outlined is not there; a file made for one speaks for what it shows."""
        if self._is_silent:
            return False
        whole = not self._made_for and not any(meaning.startswith(WITHIN) for meaning in self._layers)
        return whole or target == self._made_for or target in self._layers

    def draw_around(self, target: str, region: Region, grid: Grid) -> Mask | None:
        """Pixels inside what is drawn coarsely around a target; None where nothing is."""
        meaning = WITHIN + target
        return self._draw(meaning, region, grid) if meaning in self._layers else None

    def draw(self, target: str, region: Region, grid: Grid) -> Mask:
        """Pixels of a target in a region of a grid."""
        return self._draw(target, region, grid)

    def draw_ignored(self, region: Region, grid: Grid) -> Mask:
        """Pixels that are not compared: under ignored outlines, or outside all frames where there is one."""
        ignored = self._draw(IGNORED, region, grid)
        return ignored | ~self._draw(FRAME, region, grid) if FRAME in self._layers else ignored

    def list_objects(self, target: str) -> Polygons:
        """Each annotation of a target is one object, in level-0 pixels; what lies beyond the slide cannot be found."""
        layer = self._layers.get(target)
        return layer.list_near(self._grid.region) if layer else np.empty(0, object)

    def number_objects(self, target: str, region: Region, grid: Grid) -> NDArray[np.int64]:
        """Pixels of each annotation of a target; where two overlap, of the later one."""
        layer = self._layers.get(target)
        numbers = layer.number(region, self._grid.scale_to(grid)) if layer else _blank(region)
        return np.asarray(numbers, np.int64)

    def _draw(self, meaning: str, region: Region, grid: Grid) -> Mask:
        layer = self._layers.get(meaning)
        return layer.draw(region, self._grid.scale_to(grid)) if layer else _blank(region)


class _Layer:
    """Polygons of one meaning in level-0 pixels, found by place."""

    def __init__(self, polygons: list[shapely.Geometry]) -> None:
        self._polygons = np.array(polygons, dtype=object)
        self._tree = shapely.STRtree(polygons)

    def draw(self, region: Region, scale: float) -> Mask:
        """Pixels of all polygons."""
        return _burn([(polygon, 1) for polygon in self._place(region, scale)], region, np.uint8).view(np.bool_)

    def number(self, region: Region, scale: float) -> NDArray[np.int32]:
        """One more than the place of the polygon that each pixel belongs to, among those near; 0 for none."""
        placed = self._place(region, scale)
        return _burn([(polygon, number) for number, polygon in enumerate(placed, start=1)], region, np.int32)

    def list_near(self, region: Region, scale: float = 1.0) -> Polygons:
        """The polygons near a region of a grid, `scale` times as fine as level 0."""
        edges = np.array([region.x, region.y, region.right, region.bottom]) / scale
        return np.asarray(self._polygons[np.sort(self._tree.query(shapely.box(*edges)))])

    def count_beyond(self, slide: Region) -> int:
        """How many polygons lie beyond the slide."""
        return len(self._polygons) - len(self.list_near(slide))

    def _place(self, region: Region, scale: float) -> Polygons:
        """The polygons near a region, in its pixels."""
        found = self.list_near(region, scale)
        # On these small steps the rasteriser's arithmetic is exact: a centre on a slanted edge falls to the same side
        # whichever region it is drawn in.
        return np.asarray(
            shapely.transform(found, lambda points: np.rint(points * scale * _STEPS) / _STEPS - (region.x, region.y))
        )


def read_outlines(path: Path, slide: Slide, names: TargetNames, named: str = "") -> OutlineReference:
    """Read the outlines of a slide: GeoJSON, or the XML of ImageScope or ASAP, told apart by what they hold.

    What has no class is the target `named`, in XML the only evaluated target where none is named. Raises
    ReferenceFileError where a class is unknown, also of a point or line, most outlines lie beyond the slide or the file
    cannot be read.
    """
    labels = read_annotations(path, slide)
    annotations = labels.annotations
    _refuse_elsewhere(annotations, slide, path)
    made_for = names.resolve_file(named, path) if named or _lacks_class(path, annotations, names) else ""
    names = names.name_unclassified(made_for) if made_for else names
    meanings = names.resolve_all({*(annotation.target for annotation in annotations), *labels.skipped_classes}, path)
    drawn = ((meanings[annotation.target], annotation) for annotation in annotations)
    return OutlineReference(drawn, slide.grid, made_for if named else "", labels)


def _list_remarks(labels: Labels, unclassified: int, beyond: int) -> Iterator[str]:
    """What a person should know of a file that was read otherwise than it was drawn."""
    counts = {
        "objects left out as points, lines, tiles or without an area": labels.skipped,
        "outlines left out that lie beyond the slide": beyond,
        "outlines without a class, under which nothing is compared": unclassified,
        "outlines mended that crossed themselves": labels.repaired,
        "cells compared by the outline of the cell, not of its nucleus": labels.cells,
    }
    return (f"{text}: {count}" for text, count in counts.items() if count)


def _refuse_elsewhere(annotations: Sequence[Annotation], slide: Slide, path: Path) -> None:
    scanned = slide.bounds or slide.grid.region
    whole = shapely.box(scanned.x, scanned.y, scanned.right, scanned.bottom)
    beyond = sum(not annotation.polygon.intersects(whole) for annotation in annotations)
    if beyond * 2 > len(annotations):
        where = f"the slide of {slide.grid.width} × {slide.grid.height} pixels"
        area = f"what was scanned, {scanned.width} × {scanned.height} pixels of {where}" if slide.bounds else where
        raise ReferenceFileError(
            f"{path}: {beyond} of {len(annotations)} outlines lie beyond {area}; expected level-0 pixels as QuPath "
            "counts them; see which slide they belong to, and whether they were drawn with its bounds cropped"
        )


def _lacks_class(path: Path, annotations: Iterable[Annotation], names: TargetNames) -> bool:
    # QuPath ignores what has no class; a program that knows no classes, or whose user gave none, ignores nothing.
    unclassified = any(not annotation.target for annotation in annotations)
    return path.suffix.lower() == ".xml" and unclassified and "" not in names.mapping


def _burn(polygons: list[tuple[shapely.Geometry, int]], region: Region, dtype: npt.DTypeLike) -> NDArray[Any]:
    if not polygons:
        return np.zeros((region.height, region.width), dtype)
    return np.asarray(rasterize(polygons, (region.height, region.width), dtype=np.dtype(dtype).name))  # [h, w]


def _blank(region: Region) -> Mask:
    return np.zeros((region.height, region.width), np.bool_)

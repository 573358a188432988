"""What a person drew in a viewer that stores points: shapes with a class, made into annotations."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon

from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.features import repair_polygons
from wsiparse.annotations.geojson import Labels
from wsiparse.slides.slide import Slide

_QUADRANT_SEGMENTS = 64
_CORNERS = 4

Form = Literal["polygon", "rectangle", "ellipse", "other"]
"""How the points are meant; `other` encloses no area: a point, an arrow, a ruler."""
Point = tuple[float, float]


@dataclass
class Drawing:
    """One shape of a file, gathered point by point."""

    name: str
    """The class it is drawn in; empty where the file gives none."""
    form: Form
    layer: int = 0
    """A hole is cut from the shapes of its own layer only."""
    hole: bool = False
    points: array[float] = field(default_factory=lambda: array("d"))
    """x, y, x, y … in level-0 pixels, not closed; a tenth of the memory of tuples."""


def parse_point(attributes: Mapping[str, str]) -> Point:
    """x, y of a tag with the attributes X and Y; ValueError for what is missing, no number or not finite."""
    texts = attributes.get("X", ""), attributes.get("Y", "")
    try:
        x, y = (float(text) for text in texts)
    except ValueError:
        raise ValueError(f"coordinates {str(texts)[:60]} are not numbers") from None
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(f"coordinates {str(texts)[:60]} hold NaN or infinity")
    return x, y


def make_labels(drawings: Sequence[Drawing], slide: Slide) -> Labels:
    """Annotations of the shapes in their order, holes cut out, crossing outlines made valid and counted.

    Skipped are shapes without an area, holes that lie in nothing, and what holes leave nothing of.
    """
    outlines = [repair_polygons(_outline(drawing)) for drawing in drawings]
    shapes = [(drawing, outline) for drawing, (outline, _) in zip(drawings, outlines, strict=True)]
    repaired = sum(crossed and not outline.is_empty for outline, crossed in outlines)
    kept, used = _cut_holes(shapes)
    annotations = tuple(_annotate(drawing.name, outline, slide) for drawing, outline in kept if not outline.is_empty)
    left_out = frozenset(drawing.name for drawing, outline in kept if outline.is_empty)
    return Labels(annotations, len(drawings) - len(annotations) - used, repaired, left_out)


def _outline(drawing: Drawing) -> list[Polygon]:
    points = np.array(drawing.points).reshape(-1, 2)  # [points, 2]
    if drawing.form == "other" or len(points) < 2:
        return []
    if drawing.form == "polygon" or len(points) > _CORNERS:  # some programs write a rectangle or ellipse as an outline
        return [Polygon(points)] if len(points) >= 3 else []
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    box = shapely.box(left, top, right, bottom)
    return [box if drawing.form == "rectangle" else _inscribe_ellipse(box)]


def _inscribe_ellipse(box: Polygon) -> Polygon:
    left, top, right, bottom = box.bounds
    circle = shapely.Point(0, 0).buffer(0.5, quad_segs=_QUADRANT_SEGMENTS)
    size, center = np.array([right - left, bottom - top]), np.array([left + right, top + bottom]) / 2
    return Polygon(shapely.get_coordinates(circle) * size + center)


def _cut_holes(
    shapes: Iterable[tuple[Drawing, Polygon | MultiPolygon]],
) -> tuple[list[tuple[Drawing, Polygon | MultiPolygon]], int]:
    """The shapes that are not holes, less the holes of their layer, and how many holes lay in one of them."""
    shapes = list(shapes)
    holes = [(drawing, outline) for drawing, outline in shapes if drawing.hole and not outline.is_empty]
    solid = [(drawing, outline) for drawing, outline in shapes if not drawing.hole]
    tree = shapely.STRtree([outline for _, outline in holes])
    used: set[int] = set()
    kept = []
    for drawing, outline in solid:
        near = [n for n in tree.query(outline).tolist() if holes[n][0].layer == drawing.layer]
        inside = [n for n in near if holes[n][1].intersection(outline).area > 0]
        used.update(inside)
        kept.append((drawing, _subtract(outline, [holes[n][1] for n in inside])))
    return kept, len(used)


def _subtract(outline: Polygon | MultiPolygon, holes: list[Polygon | MultiPolygon]) -> Polygon | MultiPolygon:
    if not holes:
        return outline
    left, _ = repair_polygons([part for part in shapely.get_parts(outline - shapely.union_all(holes)) if part.area > 0])
    return left


def _annotate(name: str, outline: Polygon | MultiPolygon, slide: Slide) -> Annotation:
    return Annotation(name, outline, float(outline.area) * slide.grid.pixel_area_um2)

"""GeoJSON features as QuPath and laboratories write them: where they hide, what they outline, what they are called."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon

from wsiparse.annotations.annotation import RunnerUp, Shape

AREA = "Area µm^2"
"""Measurement QuPath users know by this name."""
PROBABILITY = "Mean probability"
"""Measurement that carries `Annotation.probability`."""
SHAPE = ("Perimeter µm", "Convex ratio", "Box ratio", "Inertia ratio")
"""Measurements that carry `Annotation.shape`."""
RUNNER_UP = "Runner-up"
"""Word of the metadata that names the target of `Annotation.runner_up`."""
RUNNER_UP_PROBABILITY = "Runner-up probability"
"""Measurement that carries its mean."""

UNKNOWN_COLOR = (128, 128, 128)
"""Of classes that are no target: the grey of QuPath's unspecific classes."""

_GEOMETRIES = {"Polygon", "MultiPolygon", "GeometryCollection", "Point", "MultiPoint", "LineString", "MultiLineString"}
_NOT_ANNOTATIONS = {"tile", "tmaCore", "tma_core", "root", "PathTileObject", "TMACoreObject", "PathRootObject"}
"""As QuPath calls them now, in 0.3, and in 0.2, where the id of a feature was its kind."""
_QUADRANT_SEGMENTS = 64


def find_features(document: Any) -> Iterator[dict[str, Any]]:
    """Every feature of a parsed document in its order, children of QuPath's object hierarchy included.

    A document is a FeatureCollection, a feature, a bare geometry, or an array of these; else ValueError.
    """
    stack = [document]
    while stack:
        entry = stack.pop()
        stack.extend(reversed(_children(entry)))
        kind = _name_type(entry)
        if kind == "Feature":
            yield entry
        elif kind in _GEOMETRIES:
            yield {"geometry": entry}


def _children(entry: Any) -> list[Any]:
    if isinstance(entry, list):
        return entry
    kind = _name_type(entry)
    if kind == "FeatureCollection":
        return _as_list(entry.get("features"), "features")
    if kind == "Feature":
        return _as_list(_properties(entry).get("childObjects", []), "childObjects")
    if kind not in _GEOMETRIES:
        found = f"type {entry.get('type')!r}" if isinstance(entry, dict) else repr(entry)
        raise ValueError(f"{found[:60]} among the features")
    return []


def _name_type(entry: Any) -> str:
    """The type of a GeoJSON object; empty where there is none."""
    kind = entry.get("type") if isinstance(entry, dict) else None
    return kind if isinstance(kind, str) else ""


def _as_list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name} is {type(value).__name__}, not an array")
    return value


def _properties(feature: dict[str, Any]) -> dict[str, Any]:
    properties = feature.get("properties")
    return properties if isinstance(properties, dict) else {}


def parse_class(feature: dict[str, Any]) -> str:
    """The class name of a feature, QuPath's derived classes joined by `: `; empty where there is none."""
    value = _properties(feature).get("classification")
    if isinstance(value, str):
        return value.strip()
    if not isinstance(value, dict):
        return ""
    names = _as_list(value.get("names") or [value.get("name") or ""], "names of a classification")
    return ": ".join(str(name) for name in names).strip()


def parse_probability(feature: dict[str, Any]) -> float | None:
    """The mean probability that this engine wrote among the measurements; None for what a person drew."""
    return _parse_measurements(feature).get(PROBABILITY)


def parse_shape(feature: dict[str, Any]) -> Shape | None:
    """The shape that this engine wrote among the measurements, nan for what was left out; None where it wrote none."""
    measurements = _parse_measurements(feature)
    return Shape(*(measurements.get(name, math.nan) for name in SHAPE)) if SHAPE[0] in measurements else None


def parse_runner_up(feature: dict[str, Any]) -> RunnerUp | None:
    """The second most probable target that this engine wrote; None where it wrote none."""
    metadata = _properties(feature).get("metadata")
    name = metadata.get(RUNNER_UP) if isinstance(metadata, dict) else None
    probability = _parse_measurements(feature).get(RUNNER_UP_PROBABILITY)
    return RunnerUp(name, probability) if isinstance(name, str) and probability is not None else None


def _parse_measurements(feature: dict[str, Any]) -> dict[str, float]:
    """Finite numbers by their names."""
    entries = _properties(feature).get("measurements")
    if isinstance(entries, list):  # QuPath before 0.4
        entries = {entry.get("name"): entry.get("value") for entry in entries if isinstance(entry, dict)}
    pairs = entries.items() if isinstance(entries, dict) else ()
    return {name: float(n) for name, n in pairs if isinstance(n, int | float) and math.isfinite(n)}


def parse_polygons(feature: dict[str, Any]) -> list[Polygon]:
    """The outlines of a feature as drawn, not yet checked for validity; empty for points, lines and QuPath's tiles.

    Raises ValueError for coordinates that are missing, not numbers or not finite.
    """
    properties = _properties(feature)
    kind = properties.get("objectType") or properties.get("object_type") or feature.get("id")
    geometry = feature.get("geometry")
    if kind in _NOT_ANNOTATIONS or geometry is None:
        return []
    if not isinstance(geometry, dict):
        raise ValueError(f"geometry is {type(geometry).__name__}, not an object")
    polygons = _parse_geometry(geometry)
    return [_ellipse(polygon) for polygon in polygons] if geometry.get("isEllipse") is True else polygons


def _parse_geometry(geometry: dict[str, Any]) -> list[Polygon]:
    kind = geometry.get("type")
    if kind not in _GEOMETRIES:
        raise ValueError(f"geometry of type {kind!r}")
    if kind == "GeometryCollection":
        members = [member for member in _as_list(geometry.get("geometries"), "geometries") if isinstance(member, dict)]
        return [polygon for member in members for polygon in _parse_geometry(member)]
    if kind == "Polygon":
        return _parse_rings(geometry.get("coordinates"))
    if kind == "MultiPolygon":
        parts = _as_list(geometry.get("coordinates"), "coordinates")
        return [polygon for rings in parts for polygon in _parse_rings(rings)]
    return []


def _parse_rings(value: Any) -> list[Polygon]:
    rings = [_parse_ring(ring) for ring in _as_list(value, "coordinates")]
    if not rings or len(rings[0]) < 3:
        return []
    return [Polygon(rings[0], [ring for ring in rings[1:] if len(ring) >= 3])]


def _parse_ring(value: Any) -> NDArray[np.float64]:
    try:
        points = np.asarray(value, dtype=np.float64)  # [points, 2 or more]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"coordinates {repr(value)[:40]} are not pairs of numbers") from None
    if points.size == 0:
        return np.empty((0, 2))
    if points.ndim != 2 or points.shape[1] < 2:
        raise ValueError(f"coordinates {repr(value)[:40]} are not pairs of numbers")
    if not np.isfinite(points[:, :2]).all():
        raise ValueError("coordinates hold NaN or infinity")
    return points[:, :2]


def _ellipse(polygon: Polygon) -> Polygon:
    # QuPath keeps the axes of an ellipse as the bounding box and redraws it; the points in the file are a picture.
    left, top, right, bottom = polygon.bounds
    points = shapely.get_coordinates(shapely.Point(0, 0).buffer(1, quad_segs=_QUADRANT_SEGMENTS))
    radii = np.array([right - left, bottom - top]) / 2
    return Polygon(points * radii + [(left + right) / 2, (top + bottom) / 2])


def is_cell(feature: dict[str, Any]) -> bool:
    """Whether a feature is a cell of QuPath whose nucleus is outlined too, in a member that GeoJSON does not know."""
    return isinstance(feature.get("nucleusGeometry"), dict)


def repair_polygons(polygons: list[Polygon]) -> tuple[Polygon | MultiPolygon, bool]:
    """One valid geometry of all parts, a Polygon where one part is left, and whether it had to be repaired.

    Overlapping parts are merged and crossing outlines are split; what encloses no area vanishes.
    """
    geometry = polygons[0] if len(polygons) == 1 else MultiPolygon(polygons)
    valid = shapely.is_valid(geometry)
    fixed = geometry if valid else shapely.make_valid(geometry, method="structure", keep_collapsed=False)
    parts = [part for part in shapely.get_parts(fixed) if isinstance(part, Polygon) and part.area > 0]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts), not valid

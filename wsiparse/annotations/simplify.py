"""Stair-step outlines to few corners, without losing area, holes or QuPath's good will."""

from __future__ import annotations

import math

import numpy as np
import shapely
from numpy.typing import NDArray

from wsiparse.annotations.outlines import Polygons

PRECISION = 0.01
"""Level-0 pixels; QuPath 0.6 and later reduce what they read to this grid and refuse a file where that fails."""
_DIGITS = 2
AREA_ERROR = 1e-3
"""Largest part of its area by which an outline may change."""
_CUT = math.sqrt(2) / 4
"""How far from the old corner a corner cut half a pixel to each side lies, in canvas pixels."""
_FINEST_TOLERANCE = 0.1
_ATTEMPTS = 4
_CAREFUL_POINTS = 5000


def simplify_outlines(outlines: Polygons, scale: float, tolerance: float) -> Polygons:
    """Valid polygons of few corners in level-0 pixels, on QuPath's 0.01 pixel grid, from exact ones in canvas pixels.

    `scale` is level-0 pixels per canvas pixel. Points are dropped by Douglas and Peucker's method, where it saves more
    after stairs were cut at the middle of their steps, together within `tolerance` canvas pixels. Then each ring is
    grown or shrunk about its centroid to its old area, moving no corner by more than `tolerance` again. Where that
    fails to keep the area within 0.1 %, the holes or the validity, the tolerance is halved, and at last the outline is
    left exact.
    """
    result = np.empty(len(outlines), object)
    left = np.arange(len(outlines))
    while len(left) and tolerance >= _FINEST_TOLERANCE:
        polygons, good = _simplify(outlines[left], scale, tolerance)
        result[left[good]] = shapely.remove_repeated_points(polygons[good])
        left = left[~good]
        tolerance /= 2
    result[left] = snap_polygons(shapely.transform(outlines[left], lambda points: points * scale))
    return result


def snap_polygons(polygons: Polygons) -> Polygons:
    """Polygons (level-0 pixels) on the grid that QuPath reads; a part that is alone becomes a Polygon.

    Raises GEOSException where QuPath would refuse the file.
    """
    snapped = _round(polygons)
    broken = ~shapely.is_valid(snapped)  # rounding alone suffices for all but the smallest and the narrowest
    reduced = shapely.set_precision(polygons[broken], PRECISION)
    # The grid is not kept as a property of the geometry: it would govern whatever is computed with it later.
    snapped[broken] = shapely.set_precision(reduced, 0, mode="pointwise")
    multiple = shapely.get_type_id(snapped) == shapely.GeometryType.MULTIPOLYGON
    single = multiple & (shapely.get_num_geometries(snapped) == 1)
    snapped[single] = shapely.get_geometry(snapped[single], 0)
    return np.asarray(shapely.remove_repeated_points(snapped))


def _round(polygons: Polygons) -> Polygons:
    points = np.round(shapely.get_coordinates(polygons), _DIGITS)
    return np.asarray(shapely.set_coordinates(polygons.copy(), points))


def _simplify(outlines: Polygons, scale: float, tolerance: float) -> tuple[Polygons, NDArray[np.bool_]]:
    simple = _drop_points(outlines, tolerance)
    if tolerance > _CUT:
        smooth = _drop_points(_cut_corners(outlines), tolerance - _CUT)
        simple = np.where(shapely.get_num_coordinates(smooth) < shapely.get_num_coordinates(simple), smooth, simple)
    usable = _keeps_shape(simple, outlines)
    simple = np.where(usable, simple, outlines)
    polygons = _fit_rings(simple, outlines, scale, tolerance)
    areas = shapely.area(outlines) * scale**2
    kept_area = np.abs(shapely.area(polygons) - areas) <= AREA_ERROR * areas
    return polygons, usable & kept_area & _keeps_shape(polygons, outlines)


def _cut_corners(outlines: Polygons) -> Polygons:
    # Douglas and Peucker keep most of a 45° stair, whose corners lie 0.7 pixels apart; its steps' middles are in line.
    _, points, (rings, polygons) = shapely.to_ragged_array(outlines)
    edges = np.diff(points, axis=0, append=points[-1:])
    lengths = np.abs(edges).sum(axis=1, keepdims=True)
    inset = edges / np.maximum(lengths, 1) / 2
    cuts = np.stack([points + inset, points + edges - inset], axis=1)  # [edges, 2 ends, 2]
    used = np.column_stack([lengths, lengths]) > [0.5, 1.5]
    used[rings[1:] - 1] = False  # from a ring's last point, which is its first, no edge begins
    starts = np.append(0, np.cumsum(used.sum(axis=1)))[rings]
    kept = cuts[used]
    closed = np.insert(kept, starts[1:], kept[starts[:-1]], axis=0)
    offsets = (starts + np.arange(len(starts)), polygons)
    return np.asarray(shapely.from_ragged_array(shapely.GeometryType.POLYGON, closed, offsets))


def _drop_points(outlines: Polygons, tolerance: float) -> Polygons:
    simple = shapely.simplify(outlines, tolerance, preserve_topology=False)
    # The careful way takes ten times as long, and the square of the time for a region of a hundred thousand corners.
    bad = ~_keeps_shape(simple, outlines) & (shapely.get_num_coordinates(outlines) <= _CAREFUL_POINTS)
    simple[bad] = shapely.simplify(outlines[bad], tolerance, preserve_topology=True)
    return np.asarray(simple)


def _keeps_shape(polygons: Polygons, outlines: Polygons) -> NDArray[np.bool_]:
    one = (shapely.get_type_id(polygons) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(polygons)
    holes = shapely.get_num_interior_rings(polygons) == shapely.get_num_interior_rings(outlines)
    return np.asarray(one & holes & shapely.is_valid(polygons))


def _fit_rings(simple: Polygons, outlines: Polygons, scale: float, tolerance: float) -> Polygons:
    rings, exact = (shapely.polygons(shapely.get_rings(polygons)) for polygons in (simple, outlines))
    fitted = _fit_area(rings, shapely.area(exact), scale, tolerance / _reach(rings))
    return np.asarray(shapely.set_coordinates(simple.copy(), shapely.get_coordinates(fitted)))


def _fit_area(simple: Polygons, areas: NDArray[np.float64], scale: float, limits: NDArray[np.float64]) -> Polygons:
    # The grid's rounding moves a small area by more than is allowed; another size rounds otherwise, so try a few.
    polygons, left = np.empty(len(simple), object), np.arange(len(simple))
    factors = np.sqrt(areas / shapely.area(simple))
    for _ in range(_ATTEMPTS):
        factors = np.clip(factors, 1 - limits, 1 + limits)
        polygons[left] = _resize(simple[left], factors[left], scale)
        ratios = shapely.area(polygons[left]) / (areas[left] * scale**2)
        wrong = np.abs(ratios - 1) > AREA_ERROR
        left, ratios = left[wrong], ratios[wrong]
        factors[left] /= np.sqrt(np.maximum(ratios, 0.5))
    return polygons


def _resize(polygons: Polygons, factors: NDArray[np.float64], scale: float) -> Polygons:
    points, owners = shapely.get_coordinates(polygons, return_index=True)
    centers = shapely.get_coordinates(shapely.centroid(polygons))[owners]
    moved = (centers + (points - centers) * factors[owners, None]) * scale
    return _round(shapely.set_coordinates(polygons.copy(), moved))


def _reach(polygons: Polygons) -> NDArray[np.float64]:
    points, owners = shapely.get_coordinates(polygons, return_index=True)
    centers = shapely.get_coordinates(shapely.centroid(polygons))[owners]
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    return np.asarray(np.maximum.reduceat(np.hypot(*(points - centers).T), starts))

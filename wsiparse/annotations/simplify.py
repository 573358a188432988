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

Points = NDArray[np.float64]
"""x, y [points, 2]."""
Offsets = NDArray[np.int64]
"""First point of each ring, and the number of points [rings + 1]."""
Values = NDArray[np.float64]
"""One number a ring."""


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
    result, good = _fit(_drop_points(outlines, tolerance), outlines, scale, tolerance)
    # The careful way takes ten times as long, and the square of the time for a region of a hundred thousand corners.
    hard = np.flatnonzero(~good & (shapely.get_num_coordinates(outlines) <= _CAREFUL_POINTS))
    careful = shapely.simplify(outlines[hard], tolerance, preserve_topology=True)
    result[hard], good[hard] = _fit(careful, outlines[hard], scale, tolerance)
    return result, good


def _drop_points(outlines: Polygons, tolerance: float) -> Polygons:
    simple = shapely.simplify(outlines, tolerance, preserve_topology=False)
    if tolerance <= _CUT:
        return np.asarray(simple)
    smooth = shapely.simplify(_cut_corners(outlines), tolerance - _CUT, preserve_topology=False)
    fewer = shapely.get_num_coordinates(smooth) < shapely.get_num_coordinates(simple)
    better = (fewer | ~_has_rings(simple, outlines)) & _has_rings(smooth, outlines)
    return np.asarray(np.where(better, smooth, simple))


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


def _has_rings(polygons: Polygons, outlines: Polygons) -> NDArray[np.bool_]:
    one = (shapely.get_type_id(polygons) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(polygons)
    holes = shapely.get_num_interior_rings(polygons) == shapely.get_num_interior_rings(outlines)
    return np.asarray(one & holes)


def _fit(simple: Polygons, outlines: Polygons, scale: float, tolerance: float) -> tuple[Polygons, NDArray[np.bool_]]:
    """Level-0 polygons whose rings have their old areas, and which of them are good."""
    result, good = np.empty(len(simple), object), _has_rings(simple, outlines)
    if not good.any():
        return result, good
    _, exact, (exact_rings, _) = shapely.to_ragged_array(outlines[good])
    areas, _ = _measure_rings(exact, exact_rings)
    _, points, (rings, polygons) = shapely.to_ragged_array(simple[good])
    fitted = _fit_areas(points, rings, areas, (scale, tolerance))
    result[good] = shapely.from_ragged_array(shapely.GeometryType.POLYGON, fitted, (rings, polygons))
    wanted, found = shapely.area(outlines[good]) * scale**2, shapely.area(result[good])
    good[good] = shapely.is_valid(result[good]) & (np.abs(found - wanted) <= AREA_ERROR * wanted)
    return result, good


def _fit_areas(points: Points, rings: Offsets, areas: Values, limits: tuple[float, float]) -> Points:
    # The grid's rounding moves a small area by more than is allowed; another size rounds otherwise, so try a few.
    scale, tolerance = limits
    now, centers = _measure_rings(points, rings)
    lengths = np.diff(rings)
    spokes = points - np.repeat(centers, lengths, axis=0)
    most = tolerance / np.maximum.reduceat(np.hypot(*spokes.T), rings[:-1])
    factors = np.sqrt(np.divide(areas, now, out=np.ones_like(areas), where=now / areas > 0))
    for _ in range(_ATTEMPTS):
        factors = np.clip(factors, 1 - most, 1 + most)
        fitted = (np.repeat(centers, lengths, axis=0) + spokes * np.repeat(factors, lengths)[:, None]) * scale
        fitted = np.round(fitted, _DIGITS)
        ratios = _measure_rings(fitted, rings)[0] / (areas * scale**2)
        wrong = np.abs(ratios - 1) > AREA_ERROR
        if not wrong.any():
            break
        factors[wrong] /= np.sqrt(np.maximum(ratios[wrong], 0.5))
    return np.asarray(fitted)


def _measure_rings(points: Points, rings: Offsets) -> tuple[Values, Points]:
    """Signed areas of closed rings [rings] and their centroids [rings, 2], the first point where there is no area."""
    # About the first point: far from a slide's origin the difference of large products keeps few digits.
    first = points[rings[:-1]]
    spokes = points - np.repeat(first, np.diff(rings), axis=0)
    ahead = np.append(spokes[1:], spokes[:1], axis=0)
    crosses = spokes[:, 0] * ahead[:, 1] - ahead[:, 0] * spokes[:, 1]
    crosses[rings[1:] - 1] = 0
    doubled = np.add.reduceat(crosses, rings[:-1])
    moments = np.add.reduceat(crosses[:, None] * (spokes + ahead), rings[:-1], axis=0)
    flat = doubled == 0
    centers = moments / np.where(flat, 1, 3 * doubled)[:, None]
    return doubled / 2, first + np.where(flat[:, None], 0, centers)

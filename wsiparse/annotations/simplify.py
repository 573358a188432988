"""Stair-step outlines to few corners, without losing area, holes or QuPath's good will."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from wsiparse.annotations.clipping import ENDLESS, Corner, clip_points, clip_polygons
from wsiparse.annotations.outlines import Outlines, Polygons, take_rings

PRECISION = 0.01
"""Level-0 pixels; QuPath 0.6 and later reduce what they read to this grid and refuse a file where that fails."""
_DIGITS = 2
AREA_ERROR = 0.99e-3
"""Largest part of its area by which an outline may change."""
_CUT = math.sqrt(2) / 4
"""How far from the old corner a corner cut half a pixel to each side lies, in canvas pixels."""
_FINEST_TOLERANCE = 0.1
_ATTEMPTS = 60
_PLAIN_ATTEMPTS = 2
_SPREAD = np.array([0.7548776662466927, 0.5698402909980532])
"""Multiples of these, without their whole part, fill a square evenly: Roberts' sequence."""
_CAREFUL_POINTS = 5000
_CLOSED = 4
"""Points of the smallest closed ring."""
_POLYGON = shapely.GeometryType.POLYGON

Points = NDArray[np.float64]
"""x, y [points, 2]."""
Offsets = NDArray[np.int64]
"""First point of each ring, and the number of points [rings + 1]."""
Values = NDArray[np.float64]
"""One number a ring."""
Rings = tuple[Points, Offsets]
"""Closed rings, one after another."""


class _Limits(NamedTuple):
    """What bounds the outlines of one attempt."""

    scale: float
    tolerance: float
    corner: Corner


def simplify_outlines(outlines: Outlines, scale: float, tolerance: float, corner: Corner = ENDLESS) -> Polygons:
    """Valid polygons of few corners in level-0 pixels, on QuPath's 0.01 pixel grid, from exact ones in canvas pixels.

    `scale` is level-0 pixels per canvas pixel, `corner` where the slide ends; no outline reaches beyond it. Points are
    dropped by Douglas and Peucker's method, where it saves more after stairs were cut at the middle of their steps,
    together within `tolerance` canvas pixels. Then each ring is grown or shrunk about its centroid to its old area,
    moving no corner by more than `tolerance` again. Where that fails to keep the area within 0.1 %, the holes or the
    validity, it is tried again with care for what is near, then the tolerance is halved, and at last the outline is
    left exact. Areas are those within the slide.
    """
    result = np.empty(len(outlines), object)
    left = np.arange(len(outlines))
    for drop, limit in _list_attempts(tolerance):
        exact = outlines.take(left)
        polygons, good = _fit(drop(exact, limit), exact, _Limits(scale, limit, corner))
        result[left[good]] = polygons
        left = left[~good]
    exact_polygons = outlines.take(left).to_shapely()
    result[left] = _clip_exact(shapely.transform(exact_polygons, lambda points: points * scale), corner)
    return _drop_repeated(result)


def _clip_exact(polygons: Polygons, corner: Corner) -> Polygons:
    # What lies in less than a step of QuPath's grid along the edge would vanish there, and has been counted.
    clipped = snap_polygons(clip_polygons(polygons, corner))
    vanished = shapely.is_empty(clipped)
    clipped[vanished] = snap_polygons(polygons[vanished])
    return clipped


def _list_attempts(tolerance: float) -> Iterator[tuple[Callable[[Outlines, float], Rings], float]]:
    while tolerance >= _FINEST_TOLERANCE:
        yield _drop_points, tolerance
        yield _drop_carefully, tolerance
        tolerance /= 2


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
    return _drop_repeated(snapped)


def _drop_repeated(polygons: Polygons) -> Polygons:
    # GEOS takes long to copy what it leaves as it is, and few polygons have two equal points in a row.
    points, owners = shapely.get_coordinates(polygons, return_index=True)
    repeated = np.unique(owners[1:][(points[1:] == points[:-1]).all(axis=1)])
    polygons[repeated] = shapely.remove_repeated_points(polygons[repeated])
    return polygons


def _round(polygons: Polygons) -> Polygons:
    points = np.round(shapely.get_coordinates(polygons), _DIGITS)
    return np.asarray(shapely.set_coordinates(polygons.copy(), points))


def _drop_points(outlines: Outlines, tolerance: float) -> Rings:
    """Points that are left of each ring, and where the rings begin; what collapsed has less than four points."""
    stairs = _simplify(outlines.points.astype(float), outlines.rings, tolerance)
    if tolerance <= _CUT:
        return stairs
    slopes = _simplify(*_cut_corners(outlines.points.astype(float), outlines.rings), tolerance - _CUT)
    lengths = np.column_stack([np.diff(stairs[1]), np.diff(slopes[1])])
    fewer = (lengths[:, 1] >= _CLOSED) & ((lengths[:, 1] < lengths[:, 0]) | (lengths[:, 0] < _CLOSED))
    both = np.concatenate([stairs[0], slopes[0]]), np.append(stairs[1], slopes[1][1:] + stairs[1][-1])
    return take_rings(both, np.arange(len(fewer)) + len(fewer) * fewer)


def _simplify(points: Points, rings: Offsets, tolerance: float) -> Rings:
    # Rings, not polygons, whose validity GEOS would look into each time; it is settled once at the end.
    lines = shapely.linearrings(points, indices=np.repeat(np.arange(len(rings) - 1), np.diff(rings)))
    simple = shapely.simplify(lines, tolerance, preserve_topology=False)
    return shapely.get_coordinates(simple), np.append(0, np.cumsum(shapely.get_num_coordinates(simple)))


def _drop_carefully(outlines: Outlines, tolerance: float) -> Rings:
    # It takes ten times as long, and the square of the time for a region of a hundred thousand corners.
    exact = outlines.to_shapely()
    small = np.flatnonzero(shapely.get_num_coordinates(exact) <= _CAREFUL_POINTS)
    simple = shapely.simplify(exact[small], tolerance, preserve_topology=True)
    kept = shapely.get_num_interior_rings(simple) == shapely.get_num_interior_rings(exact[small])
    exact[small[kept]] = simple[kept]
    points, owners = shapely.get_coordinates(shapely.get_rings(exact), return_index=True)
    return points, np.searchsorted(owners, np.arange(len(outlines.rings)))


def _cut_corners(points: Points, rings: Offsets) -> Rings:
    # Douglas and Peucker keep most of a 45° stair, whose corners lie 0.7 pixels apart; its steps' middles are in line.
    edges = np.diff(points, axis=0, append=points[-1:])
    lengths = np.abs(edges).sum(axis=1, keepdims=True)
    inset = edges / np.maximum(lengths, 1) / 2
    cuts = np.stack([points + inset, points + edges - inset], axis=1)  # [edges, 2 ends, 2]
    used = np.column_stack([lengths, lengths]) > [0.5, 1.5]
    used[rings[1:] - 1] = False  # from a ring's last point, which is its first, no edge begins
    starts = np.append(0, np.cumsum(used.sum(axis=1)))[rings]
    kept = cuts[used]
    return np.insert(kept, starts[1:], kept[starts[:-1]], axis=0), starts + np.arange(len(starts))


def _fit(simple: Rings, outlines: Outlines, limits: _Limits) -> tuple[Polygons, NDArray[np.bool_]]:
    """Level-0 polygons whose rings have their old areas, and which outlines they are of."""
    whole = np.diff(simple[1]) >= _CLOSED
    good = np.logical_and.reduceat(whole, outlines.polygons[:-1]) if len(outlines) else np.empty(0, np.bool_)
    exact = outlines.take(np.flatnonzero(good))
    if len(exact) == 0:
        return np.empty(0, object), good
    points, rings = simple
    if exact is not outlines:
        points, rings = take_rings(simple, np.flatnonzero(np.repeat(good, np.diff(outlines.polygons))))
    areas, _ = _measure_rings(exact.points.astype(float), exact.rings)
    aims = _aim_areas(exact, areas, limits)
    fitted = _fit_areas((points, rings), areas, aims, limits)
    polygons = np.asarray(shapely.from_ragged_array(_POLYGON, fitted, (rings, exact.polygons)))
    fits = _keep_areas(fitted, rings, aims, exact.polygons) & shapely.is_valid(polygons)
    good[good] = fits
    return polygons[fits], good


def _keep_areas(points: Points, rings: Offsets, areas: Values, polygons: Offsets) -> NDArray[np.bool_]:
    now, old = (np.add.reduceat(values, polygons[:-1]) for values in (_measure_rings(points, rings)[0], areas))
    return np.asarray(np.abs(now - old) <= AREA_ERROR * old)


def _aim_areas(exact: Outlines, areas: Values, limits: _Limits) -> Values:
    """What rings of these areas in canvas pixels enclose of the slide, in its pixels."""
    placed, whole = exact.points.astype(float) * limits.scale, areas * limits.scale**2
    beyond = np.logical_or.reduceat((placed > limits.corner).any(axis=1), exact.rings[:-1])
    if not beyond.any():
        return whole
    within, _ = _measure_rings(clip_points(placed, limits.corner), exact.rings)
    return np.where(beyond, within, whole)


def _fit_areas(simple: Rings, areas: Values, aims: Values, limits: _Limits) -> Points:
    (points, rings), (scale, tolerance, corner) = simple, limits
    now, centers = _measure_rings(points, rings)
    lengths = np.diff(rings)
    spokes, fitted = points - np.repeat(centers, lengths, axis=0), np.empty_like(points)
    most = tolerance / np.maximum.reduceat(np.hypot(*spokes.T), rings[:-1])
    factors = np.sqrt(np.divide(areas, now, out=np.ones_like(areas), where=now / areas > 0))
    left = np.full(len(areas), True)
    for attempt in range(_ATTEMPTS):
        factors = np.clip(factors, 1 - most, 1 + most)
        part, starts = take_rings((spokes, rings), np.flatnonzero(left))
        owners = np.repeat(np.flatnonzero(left), lengths[left])
        moved = (centers[owners] + part * factors[owners, None]) * scale + _spread(starts, attempt)
        fitted[np.repeat(left, lengths)] = moved = clip_points(np.round(moved, _DIGITS), corner)
        ratios = _divide(_measure_rings(moved, starts)[0], aims[left])
        wrong = np.abs(ratios - 1) > AREA_ERROR
        left[left] = wrong
        if not wrong.any():
            break
        factors[left] /= np.sqrt(np.maximum(ratios[wrong], 0.5))
    return fitted


def _divide(areas: Values, aims: Values) -> Values:
    """How much too large rings are; 1 for one of which nothing lies within the slide."""
    return np.divide(areas, aims, out=np.ones_like(areas), where=aims != 0)


def _spread(rings: Offsets, attempt: int) -> Points:
    # The grid's rounding moves a small area by more than is allowed; corners moved within a step round otherwise.
    numbers = np.arange(1, rings[-1] + 1) - np.repeat(rings[:-1], np.diff(rings))
    numbers[rings[1:] - 1] = 1  # the last point is the first
    turns = numbers[:, None] * max(attempt - _PLAIN_ATTEMPTS + 1, 0) * _SPREAD
    return np.asarray(((turns + 0.5) % 1 - 0.5) * PRECISION)


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

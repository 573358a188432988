"""Size, shape and certainty of many objects at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from wsiparse.annotations.outlines import Polygons
from wsiparse.compiled import compile_loop
from wsiparse.geometry import Grid

Values = NDArray[np.float64]
"""One number an object [objects]."""


@dataclass(frozen=True)
class Shapes:
    """Size and shape of each object. The ratios are BiomedParse's: 1 for a box, a convex shape or a disc, else less."""

    centroid: Values
    """x, y in level-0 pixels [objects, 2]."""
    area_um2: Values
    perimeter_um: Values
    """Length of the outline, of holes too; along pixel edges it is a quarter too long, simplified some 5 %."""
    convex_ratio: Values
    """Area / area of the convex hull."""
    box_ratio: Values
    """Area / area of the upright bounding box."""
    inertia_ratio: Values
    """Area² / (2π × rotational inertia about the centroid)."""


@dataclass(frozen=True)
class Certainties:
    """How probable each object's target is, and which other target of its group comes next."""

    probability: Values
    """Mean over the object's pixels, 0..1."""
    runner_up: NDArray[np.int64]
    """Code of the target with the second largest mean; 0 where the group has no other."""
    runner_up_probability: Values
    """Its mean, 0..1."""


def measure_shapes(polygons: Polygons, slide_grid: Grid) -> Shapes:
    """Shapes of valid polygons or multipolygons in level-0 pixels; ratios of what has no area are nan.

    Inertia is that of the area, not of pixel centres, so that a small object measures the same at any pixel size.
    """
    centroid = _find_centroids(polygons)
    area = shapely.area(polygons)
    left, top, right, bottom = shapely.bounds(polygons).T
    hull = shapely.area(shapely.convex_hull(polygons))
    return Shapes(
        centroid,
        area * slide_grid.pixel_area_um2,
        shapely.length(polygons) * slide_grid.mpp,
        _divide(area, hull),
        _divide(area, (right - left) * (bottom - top)),
        _divide(area**2, 2 * math.pi * _measure_inertia(polygons, centroid)),
    )


def _find_centroids(polygons: Polygons) -> Values:
    points, places = shapely.get_coordinates(shapely.centroid(polygons), return_index=True)
    centroids = np.full((len(polygons), 2), np.nan)
    centroids[places] = points
    return centroids


def _divide(value: Values, by: Values) -> Values:
    return np.asarray(np.divide(value, by, out=np.full(len(value), np.nan), where=by > 0))


def _measure_inertia(polygons: Polygons, centroid: Values) -> Values:
    """∫ |x - centroid|² over the area of each polygon, by Green's theorem along its rings."""
    rings, owners = _split_rings(shapely.orient_polygons(polygons))
    points, places = shapely.get_coordinates(rings, return_index=True)
    # About the centroid itself: far from a slide's origin the difference of two large moments keeps no digits.
    points = points - centroid[owners[places]]
    first, last, places = points[:-1], points[1:], np.where(places[1:] == places[:-1], places[1:], -1)
    cross = first[:, 0] * last[:, 1] - last[:, 0] * first[:, 1]
    moments = cross[:, None] * (first**2 + first * last + last**2) / 12
    used = places >= 0
    return np.bincount(owners[places[used]], moments[used].sum(axis=1), len(polygons)).astype(np.float64)


def _split_rings(polygons: Polygons) -> tuple[Polygons, NDArray[np.int64]]:
    parts, wholes = shapely.get_parts(polygons, return_index=True)
    rings, owners = shapely.get_rings(parts, return_index=True)
    return rings, wholes[owners]


@compile_loop
def sum_scores(objects: NDArray[np.int32], scores: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """Sums [count, targets] of probabilities [targets, height, width] over the objects 1 … count of an id raster."""
    sums = np.zeros((count, len(scores)), np.int64)
    for y in range(len(objects)):
        row = objects[y]
        for x in range(len(row)):
            if row[x] > 0:
                for target in range(len(scores)):
                    sums[row[x] - 1, target] += scores[target, y, x]
    return sums


def weigh_scores(sums: NDArray[np.int64], pixels: NDArray[np.int64], codes: NDArray[np.int64]) -> Certainties:
    """Mean probabilities of objects from the sums [objects, targets] over their pixels, and the target of each.

    `codes` counts the group's targets from 1. Of two equal means the earlier target comes first.
    """
    means = sums / pixels[:, None] / 255
    numbers = np.arange(len(codes))
    own = means[numbers, codes - 1]
    means[numbers, codes - 1] = -1
    second = means.argmax(axis=1)
    alone = means.shape[1] == 1
    return Certainties(own, np.where(alone, 0, second + 1), np.where(alone, 0.0, means[numbers, second]))

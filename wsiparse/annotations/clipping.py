"""Outlines cut at the slide's edge: the last pixels of a canvas may lie partly beyond it, as may what is fitted."""

from __future__ import annotations

import math

import numpy as np
import shapely
from numpy.typing import NDArray

from wsiparse.annotations.outlines import Polygons

Corner = tuple[float, float]
"""x, y of the lower right corner of what outlines may reach; the upper left one is the origin."""
ENDLESS: Corner = (math.inf, math.inf)
"""No edge on the right and below."""
_AREA = 2
"""Dimensions of what covers an area."""


def clip_points(points: NDArray[np.float64], corner: Corner) -> NDArray[np.float64]:
    """Points [points, 2], those beyond an edge moved onto it: a ring encloses of the inside what it did before."""
    return np.clip(points, 0, corner)


def clip_polygons(polygons: Polygons, corner: Corner) -> Polygons:
    """What of valid polygons lies within, valid again; empty where nothing does."""
    bounds = shapely.bounds(polygons)  # [polygons, left, top, right, bottom]
    beyond = np.flatnonzero((bounds < 0).any(axis=1) | (bounds[:, 2:] > corner).any(axis=1))
    moved = shapely.transform(polygons[beyond], lambda points: clip_points(points, corner))
    # That suits nearly all; where two legs meet beyond the edge it would fold the outline there.
    folded = ~shapely.is_valid(moved)
    inside = shapely.intersection(polygons[beyond[folded]], shapely.box(0, 0, *corner))
    clipped = polygons.copy()
    clipped[beyond] = moved
    clipped[beyond[folded]] = [_keep_areas(geometry) for geometry in inside]
    return clipped


def _keep_areas(geometry: shapely.Geometry) -> shapely.MultiPolygon:
    parts = shapely.get_parts(geometry)
    return shapely.MultiPolygon([part for part in parts if shapely.get_dimensions(part) == _AREA])

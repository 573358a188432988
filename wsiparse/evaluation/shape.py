"""How regular a shape is, by the three ratios of the BiomedParse paper, and what irregularity does to a score.

Each ratio is 1 for the most regular shape (a box, a convex shape, a disc) and falls towards 0. Pixels count as squares,
so that a mask and its outline along the pixel edges have the same ratios and a single pixel is a square.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import stats
from shapely import MultiPolygon, Polygon

from wsiparse.annotations.measures import measure_shapes
from wsiparse.geometry import Grid

_FEWEST = 3
_ANY_GRID = Grid(1, 1, 1.0)  # ratios are the same at every scale


@dataclass(frozen=True)
class Regularity:
    """Ratios of one shape, which has one or more parts; nan for a shape without area."""

    box_ratio: float
    """Area / area of the upright bounding box."""
    convex_ratio: float
    """Area / area of the convex hull."""
    inertia_ratio: float
    """Area² / (2π × rotational inertia about the centroid): 1 for a disc, the least inertia that an area can have."""


@dataclass(frozen=True)
class Trend:
    """A straight line through points: how a score changes with the irregularity of what it scores."""

    slope: float
    """Change of the gain from the most regular shape (0) to the most irregular (1)."""
    intercept: float
    correlation: float
    """Pearson's r."""
    p_value: float
    """Of a slope of 0."""
    points: int
    """Targets or objects that the line was drawn through."""


def measure_polygon(polygon: Polygon | MultiPolygon) -> Regularity:
    """Regularity of a valid outline, holes taken out."""
    if polygon.area == 0:
        return Regularity(math.nan, math.nan, math.nan)
    one = measure_shapes(np.array([polygon], object), _ANY_GRID)
    return Regularity(float(one.box_ratio[0]), float(one.convex_ratio[0]), float(one.inertia_ratio[0]))


def measure_mask(mask: NDArray[np.bool_]) -> Regularity:
    """Regularity of all pixels that are set [height, width]."""
    rows, columns = np.nonzero(mask)
    area = len(rows)
    if area == 0:
        return Regularity(math.nan, math.nan, math.nan)
    box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    spread = ((rows - rows.mean()) ** 2).sum() + ((columns - columns.mean()) ** 2).sum()
    inertia = float(spread) + area / 6  # of each pixel's square about its own centre: 1/6
    return Regularity(float(area / box), area / _hull_area(rows, columns), area**2 / (2 * math.pi * inertia))


def _hull_area(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> float:
    # Only the ends of each row can be corners of the hull; `nonzero` gives rows in order, each from left to right.
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    ends = np.append(starts[1:], len(rows)) - 1
    x = np.concatenate([columns[starts], columns[ends] + 1])
    y = np.concatenate([rows[starts], rows[ends]])
    corners = np.concatenate([np.column_stack([x, y]), np.column_stack([x, y + 1])])
    return float(shapely.multipoints(corners).convex_hull.area)


def gain_against_irregularity(ratios: Sequence[float], gains: Sequence[float]) -> Trend:
    """Line of least squares of gains over 1 - ratio, one pair a target or object; pairs with a nan are left out.

    A gain is the difference of a score between two methods. With less than three pairs, or equal ratios, there is no
    line and its values are nan.
    """
    values = np.column_stack([1 - np.asarray(ratios, np.float64), np.asarray(gains, np.float64)])
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < _FEWEST or np.ptp(values[:, 0]) == 0:
        return Trend(math.nan, math.nan, math.nan, math.nan, len(values))
    line = stats.linregress(values[:, 0], values[:, 1])
    slope, intercept, correlation, p_value = (float(line[n]) for n in range(4))
    return Trend(slope, intercept, correlation, p_value, len(values))

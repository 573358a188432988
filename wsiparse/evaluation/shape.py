"""How regular a shape is, by the three ratios of the BiomedParse paper, and what irregularity does to a score.

Each ratio is 1 for the most regular shape (a box, a convex shape, a disc) and falls towards 0. Pixels count as squares,
so that a mask and its outline along the pixel edges have the same ratios and a single pixel is a square.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import stats
from shapely import Polygon

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
class Extent:
    """How far pixels spread: of a block or, the extents of its blocks added up, of a whole mask."""

    area: int = 0
    centroid: tuple[float, float] = (0.0, 0.0)
    inertia: float = 0.0
    """About the centroid."""
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Left, top, right and bottom edge."""
    hull: shapely.Geometry = field(default_factory=Polygon)

    def __add__(self, other: Extent) -> Extent:
        if not (self.area and other.area):
            return self if self.area else other
        area = self.area + other.area
        share, apart = other.area / area, np.subtract(other.centroid, self.centroid)
        x, y = (np.array(self.centroid) + share * apart).tolist()
        inertia = self.inertia + other.inertia + self.area * share * float(apart @ apart)  # theorem of parallel axes
        left, top = np.minimum(self.box[:2], other.box[:2]).tolist()
        right, bottom = np.maximum(self.box[2:], other.box[2:]).tolist()
        hull = shapely.convex_hull(shapely.geometrycollections([self.hull, other.hull]))
        return Extent(area, (x, y), inertia, (left, top, right, bottom), hull)

    @property
    def regularity(self) -> Regularity:
        """The ratios of the pixels as one shape."""
        if not self.area:
            return Regularity(math.nan, math.nan, math.nan)
        left, top, right, bottom = self.box
        box = self.area / ((right - left) * (bottom - top))
        return Regularity(box, self.area / self.hull.area, self.area**2 / (2 * math.pi * self.inertia))


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


def find_extent(mask: NDArray[np.bool_], x: int = 0, y: int = 0) -> Extent:
    """The extent of the pixels of a mask [height, width] whose upper left lies at x, y."""
    rows, columns = mask.sum(axis=1, dtype=np.int64), mask.sum(axis=0, dtype=np.int64)
    if not rows.any():
        return Extent()
    (low_x, high_x, mean_x, spread_x), (low_y, high_y, mean_y, spread_y) = map(_describe_side, (columns, rows))
    area = int(rows.sum())
    inertia = spread_x + spread_y + area / 6  # of each pixel's square about its own centre: 1/6
    box = (low_x + x, low_y + y, high_x + x, high_y + y)
    return Extent(area, (mean_x + x, mean_y + y), inertia, box, _find_hull(mask, x, y))


def _describe_side(counts: NDArray[np.int64]) -> tuple[int, int, float, float]:
    """First and last edge, centre and spread of pixels counted along one axis."""
    places = np.flatnonzero(counts)
    mean = float(np.average(places + 0.5, weights=counts[places]))
    return int(places[0]), int(places[-1]) + 1, mean, float((counts[places] * (places + 0.5 - mean) ** 2).sum())


def _find_hull(mask: NDArray[np.bool_], x: int, y: int) -> shapely.Geometry:
    # Only the ends of each row can be corners of the hull.
    rows = np.flatnonzero(mask.any(axis=1))
    left, right = mask[rows].argmax(axis=1) + x, mask.shape[1] - mask[rows, ::-1].argmax(axis=1) + x
    ends, edges = np.concatenate([left, right]), np.concatenate([rows, rows]) + y
    corners = np.concatenate([np.column_stack([ends, edges]), np.column_stack([ends, edges + 1])])
    return shapely.multipoints(corners).convex_hull


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

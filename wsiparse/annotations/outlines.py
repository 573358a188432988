"""Many polygons on pixel corners as three flat arrays: a tenth of the memory of geometry objects, and they pickle."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio import features
from rasterio.errors import NotGeoreferencedWarning

Polygons = NDArray[np.object_]
"""An array of shapely polygons [polygons]."""


@dataclass(frozen=True)
class Outlines:
    """Polygons whose corners are integers; each ring is closed, the first ring of a polygon is its shell."""

    points: NDArray[np.int32]
    """x, y of every corner [points, 2]."""
    rings: NDArray[np.int64]
    """First point of each ring, and the number of points [rings + 1]."""
    polygons: NDArray[np.int64]
    """First ring of each polygon, and the number of rings [polygons + 1]."""

    def __len__(self) -> int:
        return len(self.polygons) - 1

    @classmethod
    def from_shapely(cls, polygons: Polygons) -> Outlines:
        """Outlines of polygons whose coordinates are whole numbers."""
        if len(polygons) == 0:
            return cls(np.empty((0, 2), np.int32), np.zeros(1, np.int64), np.zeros(1, np.int64))
        _, points, (rings, starts) = shapely.to_ragged_array(polygons)
        return cls(np.rint(points).astype(np.int32), rings.astype(np.int64), starts.astype(np.int64))

    def to_shapely(self) -> Polygons:
        """The same polygons as geometry objects."""
        parts = (self.rings, self.polygons)
        return np.asarray(shapely.from_ragged_array(shapely.GeometryType.POLYGON, self.points.astype(float), parts))

    @classmethod
    def concatenate(cls, parts: Sequence[Outlines]) -> Outlines:
        """The polygons of all parts, one part after another."""
        points = np.concatenate([part.points for part in parts])
        rings = _concatenate_offsets([part.rings for part in parts])
        return cls(points, rings, _concatenate_offsets([part.polygons for part in parts]))

    def shift(self, dx: int, dy: int) -> Outlines:
        """The polygons seen from an origin at (-dx, -dy)."""
        return Outlines(self.points + np.array([dx, dy], np.int32), self.rings, self.polygons)

    def take(self, indices: NDArray[np.int64]) -> Outlines:
        """The polygons at these places, in this order."""
        rings, polygons = _take_parts(self.polygons, indices)
        points, starts = _take_parts(self.rings, rings)
        return Outlines(self.points[points], starts, polygons)

    def find_first_pixels(self) -> NDArray[np.int64]:
        """The topmost, then leftmost pixel of each polygon as y·2³² + x [polygons]; it sorts as a slide is read."""
        keys = (self.points[:, 1].astype(np.int64) << 32) + self.points[:, 0]
        return np.minimum.reduceat(keys, self.rings[self.polygons[:-1]]) if len(self) else keys

    def drop_straight_corners(self) -> Outlines:
        """The same outlines without the points at which an axis-parallel outline does not turn."""
        if len(self) == 0:
            return self
        starts, ends = self.rings[:-1], self.rings[1:] - 1
        before = np.arange(len(self.points)) - 1
        before[starts] = ends - 1
        vertical = (self.points[:-1, 0] == self.points[1:, 0])[np.append(np.arange(len(self.points) - 1), -1)]
        turns = vertical != vertical[before]
        turns[ends] = False
        kept = np.flatnonzero(turns)
        rings = np.append(0, np.cumsum(np.add.reduceat(turns, starts, dtype=np.int64)))
        closed = np.insert(kept, rings[1:], kept[rings[:-1]])
        return Outlines(self.points[closed], rings + np.arange(len(rings)), self.polygons)


def _concatenate_offsets(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    lengths = [np.diff(part) for part in parts]
    return np.append(0, np.cumsum(np.concatenate(lengths)))


def _take_parts(offsets: NDArray[np.int64], indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the parts of some wholes, one after another, and the offsets of the wholes among them."""
    lengths = offsets[indices + 1] - offsets[indices]
    starts = np.append(0, np.cumsum(lengths))
    places = np.arange(starts[-1]) + np.repeat(offsets[indices] - starts[:-1], lengths)
    return places, starts


# rasterio silences this by a switch of the whole process, which another thread may turn back meanwhile.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)


def trace_objects(objects: NDArray[np.int32]) -> Outlines:
    """Outline each object of an id raster [height, width] along its pixel edges, holes kept, areas exact.

    Ids are 1 … n, 0 is background, and the outlines come in the order of the ids. An object must be 4-connected.
    """
    shapes = sorted(features.shapes(objects, mask=objects > 0, connectivity=4), key=_value)
    polygons = [shape["coordinates"] for shape, _ in shapes]
    rings = [ring for polygon in polygons for ring in polygon]
    points = np.array([point for ring in rings for point in ring], np.int32).reshape(-1, 2)
    ring_starts = np.append(0, np.cumsum([len(ring) for ring in rings], dtype=np.int64))
    polygon_starts = np.append(0, np.cumsum([len(polygon) for polygon in polygons], dtype=np.int64))
    return Outlines(points, ring_starts, polygon_starts)


def _value(shape: tuple[Any, float]) -> float:
    return shape[1]

"""Many polygons on pixel corners as three flat arrays: a tenth of the memory of geometry objects, and they pickle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray

_Number = TypeVar("_Number", np.int32, np.float64)
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
        if len(indices) == len(self) and (np.diff(indices) == 1).all():
            return self
        rings, polygons = take_parts(self.polygons, indices)
        return Outlines(*take_rings((self.points, self.rings), rings), polygons)

    def measure_areas(self) -> NDArray[np.int64]:
        """Pixels within each polygon [polygons], whose holes turn against its shell as `trace_objects` lays them."""
        x, y = self.points.T.astype(np.int64)
        strips = x * np.diff(y, append=0)
        strips[self.rings[1:] - 1] = 0  # no edge leads from one ring to the next
        return np.add.reduceat(strips, self.rings[self.polygons[:-1]]) if len(self) else strips

    def find_last_pixels(self) -> NDArray[np.int64]:
        """The bottommost, then rightmost pixel of each polygon as y·2³² + x [polygons]; it sorts as a slide is read."""
        corners = self.points[:, 1].astype(np.int64)
        corners <<= 32
        corners += self.points[:, 0]
        last = np.maximum.reduceat(corners, self.rings[self.polygons[:-1]]) if len(self) else corners
        return last - (1 << 32) - 1


def take_rings(
    rings: tuple[NDArray[_Number], NDArray[np.int64]], indices: NDArray[np.int64]
) -> tuple[NDArray[_Number], NDArray[np.int64]]:
    """The rings at these places, in this order, from points [points, 2] and the first point of each ring."""
    points, starts = take_parts(rings[1], indices)
    return rings[0].take(points, axis=0), starts


def take_parts(offsets: NDArray[np.int64], indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the parts of some wholes, one after another, and the offsets of the wholes among them [wholes + 1]."""
    lengths = offsets[indices + 1] - offsets[indices]
    starts = np.append(0, np.cumsum(lengths))
    places = np.repeat(offsets[indices] - starts[:-1], lengths)
    places += np.arange(starts[-1])
    return places, starts


def _concatenate_offsets(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    lengths = [np.diff(part) for part in parts]
    return np.append(0, np.cumsum(np.concatenate(lengths)))

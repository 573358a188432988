"""Rasters of object ids to outlines along pixel edges, all objects of a block at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsiparse.annotations.outlines import Outlines, take_rings
from wsiparse.compiled import compile_loop

_Ids = NDArray[np.int32]
_Numbers = NDArray[np.int64]


def trace_objects(objects: _Ids) -> Outlines:
    """Outline each object of an id raster [height, width] along its pixel edges, holes kept, areas exact.

    Ids are 1 … n, 0 is background, and the outlines come in the order of the ids. An object must be 4-connected. A ring
    begins at the start of its topmost, then leftmost edge that goes right; a polygon's shell comes first, its holes
    follow in the order of these points. Where four edges of an object meet, it turns left: holes then touch a ring at
    that corner instead of the ring touching itself, so that the polygon is valid.
    """
    tops = _count_tops(objects)
    # Objects have as many pixels at the bottom of their columns as at the top, and each begins at most one edge across,
    # of two points; a ring repeats its first point.
    points, rings, owners = np.empty((5 * tops, 2), np.int32), np.zeros(tops + 1, np.int64), np.empty(tops, np.int64)
    count = _follow_rings(objects, np.zeros(objects.shape, np.bool_), points, rings, owners)
    order = np.argsort(owners[:count], kind="stable")
    laid = take_rings((points[: rings[count]], rings[: count + 1]), order)
    polygons = np.searchsorted(owners[order], np.arange(1, int(objects.max(initial=0)) + 2))
    return Outlines(*laid, polygons)


@compile_loop
def _count_tops(objects: _Ids) -> int:
    """Pixels of objects above which their object ends."""
    count = 0
    for y in range(len(objects)):
        row, above = objects[y], objects[max(y - 1, 0)]
        for x in range(len(row)):
            count += row[x] != 0 and (y == 0 or above[x] != row[x])
    return count


@compile_loop
def _follow_rings(objects: _Ids, seen: NDArray[np.bool_], points: _Ids, rings: _Numbers, owners: _Numbers) -> int:
    """Rings in the order of their first points: x, y of their corners, where each ends, and whose it is; their number.

    `seen` takes the pixels along whose top a ring went. Objects lie on the right, seen with y down.
    """
    height, width = objects.shape
    count = corner = 0
    for top in range(height):
        row, above = objects[top], objects[max(top - 1, 0)]
        for left in range(width):
            owner = row[left]
            if owner == 0 or (top > 0 and above[left] == owner) or seen[top, left]:
                continue
            x, y, dx, dy = left, top, 1, 0
            while True:
                points[corner, 0], points[corner, 1] = x, y
                corner += 1
                straight = True
                while straight:
                    if dx == 1:
                        seen[y, x] = True
                    x, y = x + dx, y + dy
                    # The pixels ahead, to the left of the corner and to the right.
                    left_x, left_y = x + (dx + dy - 1) // 2, y + (dy - dx - 1) // 2
                    right_x, right_y = x + (dx - dy - 1) // 2, y + (dx + dy - 1) // 2
                    if 0 <= left_x < width and 0 <= left_y < height and objects[left_y, left_x] == owner:
                        dx, dy, straight = dy, -dx, False
                    elif not (0 <= right_x < width and 0 <= right_y < height and objects[right_y, right_x] == owner):
                        dx, dy, straight = -dy, dx, False
                if x == left and y == top and dx == 1:
                    break
            points[corner, 0], points[corner, 1] = left, top
            corner += 1
            owners[count], rings[count + 1] = owner, corner
            count += 1
    return count

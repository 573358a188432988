"""The watershed of `split_objects` over whole arrays, as it was before its loops were compiled: what they must give."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from wsiparse.annotations.flood import Objects
from wsiparse.annotations.relief import Mask, Places, Relief
from wsiparse.annotations.splitting import _DOWNHILL_SHARE, _Scale

Ways = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Row and column where each straight line starts, and where it stops [ways, 2]."""


def raise_relief(mask: Mask, probability: NDArray[np.uint8], scale: _Scale) -> Relief:
    """Relief [height + 2, width + 2] of a mask, with a frame of background around it."""
    framed = np.pad(mask, 1)
    relief: Relief = ndimage.distance_transform_cdt(framed, "taxicab")
    kings = ndimage.distance_transform_cdt(framed, "chessboard")
    # The octagonal distance × 3: within a tenth of Euclid's, in whole numbers and at a tenth of the time.
    relief *= 2
    kings *= 3
    np.minimum(np.maximum(relief, kings, out=relief), 3 * scale.radius, out=relief)
    relief[1:-1, 1:-1] *= np.maximum(probability, 1)
    for axis in (0, 1):
        relief = ndimage.correlate1d(relief, scale.weights, axis, mode="constant")
    relief *= framed
    return relief


def find_centers(relief: Relief, scale: _Scale) -> Places:
    """Summits that no higher summit nearby outranks: none close by, none to which the way leads over no neck."""
    summits = _find_summits(relief)
    points = np.column_stack(np.unravel_index(summits, relief.shape))
    pairs = _pair_summits(points, 2 * scale.radius)
    heights = relief.ravel()[summits]
    first, second = pairs.T
    # Places sort as the raster is read, in any window, so that of two equal summits the upper left one stands.
    higher = (heights[first] > heights[second]) | ((heights[first] == heights[second]) & (first < second))
    low, high = np.where(higher, second, first), np.where(higher, first, second)
    near = ((points[low] - points[high]) ** 2).sum(axis=1) < scale.distance**2
    needed = np.where(near, np.minimum(1, scale.neck * heights[low]), scale.neck * heights[low])
    ways = points[low], points[high]
    steps = np.abs(ways[1] - ways[0]).max(axis=1)
    # Most ways dip too low halfway already, which is found out at a fifth of the time of walking them.
    left = np.flatnonzero(_read_heights(relief, ways, steps, steps // 2) >= needed)
    outranked = _find_passes(relief, points[low[left]], points[high[left]]) >= needed[left]
    return np.delete(summits, low[left[outranked]])


def _find_summits(relief: Relief) -> Places:
    width, flat = relief.shape[1], relief.ravel()
    places = np.flatnonzero(flat)
    for offset in (1, width - 1, width, width + 1):
        here = flat[places]
        places = places[(here > flat[places - offset]) & (here >= flat[places + offset])]
    return places


def _pair_summits(points: NDArray[np.int64], distance: int) -> NDArray[np.int64]:
    if len(points) < 2:
        return np.empty((0, 2), np.int64)
    # Squared distances are whole numbers: half of one keeps the limit clear of any of them.
    pairs = cKDTree(points).query_pairs(math.sqrt(distance**2 + 0.5), output_type="ndarray")
    return np.asarray(pairs, np.int64)


def _find_passes(relief: Relief, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.int32]:
    """The lowest height on the straight line from each start to its stop."""
    if len(starts) == 0:
        return np.empty(0, np.int32)
    steps = np.abs(stops - starts).max(axis=1)
    firsts = np.cumsum(steps) - steps
    along = np.arange(steps.sum()) - np.repeat(firsts, steps)
    ways = np.repeat(starts, steps, axis=0), np.repeat(stops, steps, axis=0)
    return np.minimum.reduceat(_read_heights(relief, ways, np.repeat(steps, steps), along), firsts)


def _read_heights(relief: Relief, ways: Ways, steps: NDArray[np.int64], along: NDArray[np.int64]) -> NDArray[np.int32]:
    """Heights on ways of so many `steps`, `along` so many of them from the start."""
    starts, stops = ways
    points = (2 * (stops - starts) * along[:, None] + steps[:, None]) // (2 * steps[:, None])
    rows, columns = (points + starts).T
    heights: NDArray[np.int32] = relief[rows, columns]
    return heights


def flood_objects(relief: Relief, centers: Places, scale: _Scale) -> Objects:
    """Ids [height + 2, width + 2] that spread from the centres one pixel a sweep, all at once, for `sweeps` sweeps.

    A pixel goes to the first to come, among several to the one whose way has the higher pass; an id climbs no more
    than the neck allows until the last sweeps, so that it stays on its side of a valley.
    """
    width = relief.shape[1]
    around = np.array([-width, -1, 1, width])
    heights, free = relief.ravel(), relief.ravel() > 0
    ids, passes, marks = (np.zeros(relief.size, np.int32) for _ in range(3))
    ids[centers], passes[centers], free[centers] = np.arange(1, len(centers) + 1), heights[centers], False
    wave, held = centers, [centers[:0]]
    uphill = math.ceil(_DOWNHILL_SHARE * scale.sweeps)
    for sweep in range(scale.sweeps):
        # What had to wait is asked again once something beside it is reached, and all of it when it may climb.
        front = np.concatenate([(wave[:, None] + around).ravel(), *(held if sweep == uphill else ())])
        front = _drop_doubles(front[free[front]], marks)
        reached = passes[front[:, None] + around]
        best = reached.argmax(axis=1)
        top = reached[np.arange(len(front)), best]
        ready = top >= (scale.neck if sweep < uphill else 0.0) * heights[front]
        held.append(front[~ready])
        wave = front[ready]
        free[wave] = False
        ids[wave] = ids[wave + around[best[ready]]]
        passes[wave] = np.minimum(top[ready], heights[wave])
    return ids.reshape(relief.shape)


def _drop_doubles(places: Places, marks: NDArray[np.int32]) -> Places:
    # Of equal places the one that wrote its number last finds it again; sorting would take ten times as long.
    numbers = np.arange(len(places), dtype=np.int32)
    marks[places] = numbers
    return np.asarray(places[marks[places] == numbers])

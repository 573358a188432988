"""Touching objects apart: a watershed of bounded reach, so that it can be done anywhere on a slide with one result.

What becomes of a pixel depends on nothing farther away than `Splitting.find_halo` says. A library's watershed does not
promise that: its flood follows a chain of touching objects across the whole slide. Everything is done in whole numbers
and ties go to the upper left, so that results are equal to the bit wherever the window around a pixel was cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from wsiparse.errors import InputError

Objects = NDArray[np.int32]
"""Ids of objects [height, width]: 1 … n, 0 is none."""
Relief = NDArray[np.int32]
"""Height of each pixel [height, width]: distance to the outline × probability, smoothed; 0 outside the mask."""
Places = NDArray[np.int64]
"""Pixels as places in the flattened raster [places]."""
Ways = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Row and column where each straight line starts, and where it stops [ways, 2]."""

_WEIGHTS = 64
"""Sum of the smoothing weights along one axis; their square and the rest of a height fit 31 bits."""
_MAX_RADIUS = 600
_DOWNHILL_SHARE = 0.75
"""Part of the flood that may not climb out of a neck; what is left then goes to whoever comes first."""


@dataclass(frozen=True)
class Splitting:
    """What sets touching objects apart; lengths in µm. The defaults are for nuclei."""

    min_distance_um: float = 2.5
    """Centres nearer than this are one object."""
    smoothing_um: float = 0.6
    """Standard deviation of the smoothing that takes the noise from the relief."""
    neck: float = 0.92
    """Two centres are one object where the relief between them stays above this part of the lower one's; equal discs
    that overlap by less than a seventh of their width come apart."""
    max_radius_um: float = 8.0
    """Half the width of the widest object: farther inside, the distance to the outline says nothing more."""
    reach_um: float = 20.0
    """How far an object extends from its centre at most; what no centre reaches stays as it is."""

    def __post_init__(self) -> None:
        if not 0 < self.neck <= 1 or min(self.min_distance_um, self.smoothing_um) < 0:
            raise InputError(f"splitting {self}: expected neck in 0..1 and lengths of 0 µm or more; correct them")
        if min(self.max_radius_um, self.reach_um) <= 0:
            raise InputError(f"splitting {self}: expected max_radius_um and reach_um above 0 µm; correct them")

    def find_halo(self, mpp: float) -> int:
        """Pixels around a region that decide about every object whose centre lies inside it."""
        scale = _Scale.of(self, mpp)
        # An object's pixels lie one flood away, what competes for them another; summits within 2 radii rank a centre,
        # and a height is smoothed from octagonal distances, which look as far as 1.5 radii along the axes.
        return 2 * scale.sweeps + 2 * scale.radius + math.ceil(1.5 * scale.radius) + len(scale.weights) // 2 + 3


@dataclass(frozen=True)
class _Scale:
    """A `Splitting` in pixels."""

    distance: float
    neck: float
    radius: int
    sweeps: int
    weights: NDArray[np.int32]

    @classmethod
    def of(cls, options: Splitting, mpp: float) -> _Scale:
        radius, sweeps = (max(round(um / mpp), 1) for um in (options.max_radius_um, options.reach_um))
        if radius > _MAX_RADIUS:
            raise InputError(f"max_radius_um {options.max_radius_um}: {radius} pixels, expected up to {_MAX_RADIUS}")
        weights = _find_weights(options.smoothing_um / mpp)
        return cls(options.min_distance_um / mpp, options.neck, radius, sweeps, weights)


def _find_weights(sigma: float) -> NDArray[np.int32]:
    reach = math.ceil(3 * sigma)
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-9)) ** 2)
    return np.trim_zeros(np.rint(_WEIGHTS * bell / bell.sum()).astype(np.int32))


def split_objects(mask: NDArray[np.bool_], probability: NDArray[np.uint8], mpp: float, options: Splitting) -> Objects:
    """Ids [height, width] of the objects of a mask, touching ones apart, numbered by their first pixels.

    `probability` in 0..255 deepens the valleys between objects; where a model knows their boundaries, hand in the
    probability less that of the boundary. Each object is 4-connected. What no centre reaches within `reach_um` is an
    object for each 4-connected part.
    """
    ids, _ = find_objects(mask, probability, mpp, options)
    rest, _ = ndimage.label(mask & (ids == 0))
    ids = np.where(rest > 0, rest + ids.max(initial=0), ids)
    return _renumber(ids)


def _renumber(ids: Objects) -> Objects:
    flat = ids.ravel()
    places = np.flatnonzero(flat)[::-1]
    firsts = np.full(ids.max(initial=0) + 1, -1)
    firsts[flat[places]] = places  # the last one written, an object's first pixel, stays
    ranks = np.empty(len(firsts), np.int32)
    ranks[np.argsort(firsts)] = np.arange(len(firsts))
    return ranks[ids]


def find_objects(
    mask: NDArray[np.bool_], probability: NDArray[np.uint8], mpp: float, options: Splitting
) -> tuple[Objects, NDArray[np.int64]]:
    """Ids [height, width] of the objects that have a centre, and row and column of each one's centre [objects, 2].

    Ids are 0 where none reaches. Pixels nearer to the array's edge than `options.find_halo(mpp)` may come out otherwise
    in a larger window.
    """
    scale = _Scale.of(options, mpp)
    relief = raise_relief(mask, probability, scale)
    centers = find_centers(relief, scale)
    ids = flood_objects(relief, centers, scale)
    return ids[1:-1, 1:-1], np.column_stack(np.unravel_index(centers, relief.shape)) - 1


def raise_relief(mask: NDArray[np.bool_], probability: NDArray[np.uint8], scale: _Scale) -> Relief:
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

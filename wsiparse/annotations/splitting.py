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

from wsiparse.annotations.flood import Objects, flood_objects
from wsiparse.annotations.relief import Mask, Relief, find_outranked, find_summits, measure_depths, smooth_depths
from wsiparse.errors import InputError

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
    smoothing_um: float = 0.9
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

    @property
    def uphill(self) -> int:
        """The first sweep that may climb out of a neck."""
        return math.ceil(_DOWNHILL_SHARE * self.sweeps)

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


def split_objects(mask: Mask, probability: NDArray[np.uint8], mpp: float, options: Splitting) -> Objects:
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
    mask: Mask, probability: NDArray[np.uint8], mpp: float, options: Splitting
) -> tuple[Objects, NDArray[np.int64]]:
    """Ids [height, width] of the objects that have a centre, and row and column of each one's centre [objects, 2].

    Ids are 0 where none reaches. Pixels nearer to the array's edge than `options.find_halo(mpp)` may come out otherwise
    in a larger window.
    """
    scale = _Scale.of(options, mpp)
    relief, ids = _raise_relief(mask, probability, scale), _make_raster(mask)
    summits = find_summits(relief)
    centers = summits[~find_outranked(relief, summits, 2 * scale.radius, scale.distance, scale.neck)]
    flood_objects(relief, centers, scale.neck, scale.uphill, scale.sweeps, ids)
    return ids[1:-1, 1:-1], np.column_stack(np.unravel_index(centers, relief.shape)) - 1


def _raise_relief(mask: Mask, probability: NDArray[np.uint8], scale: _Scale) -> Relief:
    """Relief [height + 2, width + 2] of a mask, with a frame of background around it."""
    depths, relief = _make_raster(mask), _make_raster(mask)
    measure_depths(mask, probability, scale.radius, depths)
    smooth_depths(depths, scale.weights, relief)
    return relief


def _make_raster(mask: Mask) -> NDArray[np.int32]:
    # Made here: numpy asks for large pages, which the compiled loops do not.
    return np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), np.int32)

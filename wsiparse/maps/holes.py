"""Holes in what was recognised: small ones belong to what encloses them, as a lumen does to its gland."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsiparse.compiled import compile_loop
from wsiparse.maps.recognition import Labels
from wsiparse.ontology import Target

SLENDERNESS = 2.0
"""A hole is filled up to a length of so many times the side of a square as large as the largest that is."""
_Numbers = NDArray[np.int64]
_Marks = NDArray[np.int32]


@dataclass(frozen=True)
class HoleFilling:
    """Which holes of a group's targets are filled, on a canvas of one scale."""

    most: tuple[int, ...]
    """Pixels of the largest hole that is filled, for each code from 1 on; 0 keeps all."""

    @classmethod
    def of_targets(cls, targets: Sequence[Target], mpp: float) -> HoleFilling:
        """The filling of a group's targets, in the order of their codes."""
        return cls(tuple(max(math.ceil(target.min_hole_um2 / mpp**2) - 1, 0) for target in targets))

    @property
    def reach(self) -> int:
        """The most rows and columns of a hole that is filled: as many pixels around a region have a say in it."""
        return math.ceil(SLENDERNESS * math.sqrt(max(self.most, default=0)))


def fill_holes(labels: Labels, filling: HoleFilling) -> None:
    """Give the small holes in a label map [h, w] to what encloses them, in place.

    A hole is a 4-connected part without a code, beside which there is one code alone: between two targets nothing is
    filled. What lies nearer than `filling.reach` to a side of the map may yet be filled from a larger one.
    """
    if any(filling.most):
        seen, waiting = np.zeros(labels.shape, np.int32), np.empty(max(filling.most), np.int64)
        _fill_parts(labels, np.array((0, *filling.most)), filling.reach, seen, waiting)


@compile_loop
def _fill_parts(labels: Labels, most: _Numbers, reach: int, seen: _Marks, waiting: _Numbers) -> None:
    """Try each part where it begins to the right of a code; `seen` is 0 at first, `waiting` has room for a hole."""
    height, width = labels.shape
    tried = 0
    for y in range(height):
        for x in range(1, width):
            code = labels[y, x - 1]
            if labels[y, x] != 0 or code == 0 or seen[y, x] != 0 or most[code] == 0:
                continue
            tried += 1
            seen[y, x], waiting[0] = tried, y * width + x
            for place in waiting[: _flood_hole(labels, most[code], reach, seen, waiting)]:
                labels[place // width, place % width] = code


@compile_loop
def _flood_hole(labels: Labels, most: int, reach: int, seen: _Marks, waiting: _Numbers) -> int:
    """Pixels of the hole that begins at `waiting[0]`, which are put behind it; 0 where it is not to be filled."""
    height, width = labels.shape
    first_row, first_column = waiting[0] // width, waiting[0] % width
    code, own = labels[first_row, first_column - 1], seen[first_row, first_column]
    top, left, bottom, right = first_row, first_column, first_row, first_column
    done, count = 0, 1
    while done < count:
        row, column = waiting[done] // width, waiting[done] % width
        done += 1
        top, left, bottom, right = min(top, row), min(left, column), max(bottom, row), max(right, column)
        if bottom - top >= reach or right - left >= reach:
            return 0
        for down, across in ((-1, 0), (0, -1), (0, 1), (1, 0)):
            below, beside = row + down, column + across
            if not (0 <= below < height and 0 <= beside < width):
                return 0
            if labels[below, beside] == code or seen[below, beside] == own:
                continue
            # Another code, a pixel too many, or the same part where an earlier try gave it up.
            if labels[below, beside] != 0 or seen[below, beside] != 0 or count == most:
                return 0
            seen[below, beside], waiting[count] = own, below * width + beside
            count += 1
    return count

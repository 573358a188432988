"""Which predicted objects share how much area with which objects of the reference: all that matching needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon

ObjectImage = NDArray[np.integer[Any]]
"""Numbers of objects [height, width]; 0 is no object. A number means the same object in every block of a slide."""
Numbers = NDArray[np.int64]
Areas = NDArray[np.float64]

_BATCH = 4096


@dataclass(frozen=True)
class Overlaps:
    """Areas of objects and of their common parts; memory is that of the objects, whatever the size of the slide."""

    predicted: Areas
    """Area of each predicted object [predicted]."""
    reference: Areas
    """Area of each object of the reference [reference]."""
    pairs: Numbers
    """Places of a predicted object and an object of the reference that share area [pairs, 2]."""
    shared: Areas
    """Area that the two of each pair share [pairs]."""

    @property
    def iou(self) -> Areas:
        """|P ∩ R| / |P ∪ R| of each pair [pairs]."""
        predicted, reference = self._pair_areas()
        return np.asarray(self.shared / (predicted + reference - self.shared))

    @property
    def dice(self) -> Areas:
        """2 |P ∩ R| / (|P| + |R|) of each pair [pairs]."""
        predicted, reference = self._pair_areas()
        return np.asarray(2 * self.shared / (predicted + reference))

    def _pair_areas(self) -> tuple[Areas, Areas]:
        return self.predicted[self.pairs[:, 0]], self.reference[self.pairs[:, 1]]


def count_overlaps(blocks: Iterable[tuple[ObjectImage, ObjectImage]], pixel_area_um2: float) -> Overlaps:
    """Overlaps, in µm², of object images given as blocks that do not overlap, prediction first.

    An object that blocks cut is one object as long as its number is the same in each.
    """
    tables = [_count_block(predicted, reference) for predicted, reference in blocks]
    numbers = np.concatenate([np.empty((0, 2), np.int64), *(pairs for pairs, _ in tables)])
    pixels = np.concatenate([np.empty(0, np.int64), *(counts for _, counts in tables)])
    predicted, reference = (_sum_by_number(numbers[:, side], pixels) for side in (0, 1))
    both = (numbers != 0).all(axis=1)
    pairs, shared = _sum_pairs(numbers[both], pixels[both])
    places = np.column_stack([np.searchsorted(predicted[0], pairs[:, 0]), np.searchsorted(reference[0], pairs[:, 1])])
    shared_um2 = shared.astype(np.float64) * pixel_area_um2
    return Overlaps(predicted[1] * pixel_area_um2, reference[1] * pixel_area_um2, places, shared_um2)


def _count_block(predicted: ObjectImage, reference: ObjectImage) -> tuple[Numbers, Numbers]:
    """Pairs of numbers that meet on a pixel [pairs, 2], 0 among them, and the pixels of each [pairs]."""
    images = predicted.ravel(), reference.ravel()
    # Objects are long runs of equal pixels: to sort the runs takes a tenth of the time of sorting pixels.
    starts = _find_starts(*images)
    pixels = np.diff(np.append(starts, predicted.size))
    runs = np.column_stack([image[starts].astype(np.int64) for image in images])
    seen = runs.any(axis=1)
    return _sum_pairs(runs[seen], pixels[seen])


def _find_starts(one: ObjectImage, other: ObjectImage) -> Numbers:
    """Where each run of equal pairs begins."""
    begins = np.ones(len(one), np.bool_)
    begins[1:] = (one[1:] != one[:-1]) | (other[1:] != other[:-1])
    return np.flatnonzero(begins)


def _sum_by_number(numbers: Numbers, pixels: Numbers) -> tuple[Numbers, Areas]:
    objects, places = np.unique(numbers[numbers != 0], return_inverse=True)
    return objects, np.bincount(places, pixels[numbers != 0], len(objects)).astype(np.float64)


def _sum_pairs(numbers: Numbers, amounts: NDArray[Any]) -> tuple[Numbers, NDArray[Any]]:
    """Each pair of numbers once, in order [pairs, 2], and the sum of its amounts [pairs]."""
    order = np.lexsort([numbers[:, 1], numbers[:, 0]])
    ordered = numbers[order]
    starts = _find_starts(ordered[:, 0], ordered[:, 1])
    sums = np.add.reduceat(amounts[order], starts) if len(starts) else amounts
    return ordered[starts], sums


def measure_overlaps(
    predicted: Sequence[Polygon | MultiPolygon], reference: Sequence[Polygon | MultiPolygon], pixel_area_um2: float
) -> Overlaps:
    """Overlaps, in µm², of valid outlines in pixels of one grid; outlines of one side may overlap each other."""
    sides = np.array(predicted, dtype=object), np.array(reference, dtype=object)
    areas = tuple(shapely.area(side).astype(np.float64) for side in sides)
    # Part by part: one object, as of a mask whose values are classes, may have thousands, of which each meets few.
    (found, finders), (drawn, drawers) = (shapely.get_parts(side, return_index=True) for side in sides)
    tree = shapely.STRtree(drawn)
    batches = [_intersect((found, drawn), tree, start) for start in range(0, len(found), _BATCH)]
    places = np.concatenate([np.empty((0, 2), np.int64), *(places for places, _ in batches)])
    common = np.concatenate([np.empty(0), *(common for _, common in batches)])
    pairs, shared = _sum_pairs(np.column_stack([finders[places[:, 0]], drawers[places[:, 1]]]), common)
    return Overlaps(areas[0] * pixel_area_um2, areas[1] * pixel_area_um2, pairs, shared * pixel_area_um2)


def _intersect(
    sides: tuple[NDArray[np.object_], NDArray[np.object_]], tree: shapely.STRtree, start: int
) -> tuple[Numbers, Areas]:
    """Places of the polygons that share area, those of the first side from `start` on [pairs, 2], and how much."""
    # In batches, so that the common parts themselves are never all in memory.
    places, found = tree.query(sides[0][start : start + _BATCH], "intersects")
    pairs = np.column_stack([places + start, found])
    shared = shapely.area(shapely.intersection(sides[0][pairs[:, 0]], sides[1][pairs[:, 1]]))
    return pairs[shared > 0], shared[shared > 0]

"""Predicted objects of a slide held against those of its reference, where the reference tells objects apart."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from wsiparse.annotations.outlines import Polygons
from wsiparse.evaluation.objects import ObjectScore, score_objects
from wsiparse.evaluation.overlaps import measure_overlaps
from wsiparse.evaluation.references import Reference
from wsiparse.geometry import Grid, Region

_SIDE = 4096
"""Side of the squares in which it is looked up whether an object is compared, in level-0 pixels."""


def score_instances(predicted: Polygons, target: str, reference: Reference, grid: Grid) -> ObjectScore | None:
    """Score predicted outlines in pixels of `grid`, the slide's level 0; None where the reference has no objects.

    Left out are objects of either side that lie in what the reference ignores, by a point inside each.
    """
    drawn = reference.list_objects(target)
    if drawn is None:
        return None
    found, wanted = (_keep_compared(objects, reference, grid) for objects in (predicted, drawn))
    return score_objects(measure_overlaps(found.tolist(), wanted.tolist(), grid.pixel_area_um2))


def _keep_compared(objects: Polygons, reference: Reference, grid: Grid) -> Polygons:
    points = shapely.get_coordinates(shapely.point_on_surface(objects))  # [objects, 2]
    limit = np.array([grid.width, grid.height]) - 1
    places = np.clip(np.floor(points).astype(np.int64), 0, limit)  # [objects, 2]
    return objects[~_find_ignored(places, reference, grid)]


def _find_ignored(places: NDArray[np.int64], reference: Reference, grid: Grid) -> NDArray[np.bool_]:
    """Which pixels x, y of a grid are ignored [places]."""
    ignored = np.zeros(len(places), np.bool_)
    squares, owners = np.unique(places // _SIDE, axis=0, return_inverse=True)
    for number, (column, row) in enumerate(squares.tolist()):
        region = Region(column * _SIDE, row * _SIDE, _SIDE, _SIDE).intersect(grid.region)
        mine = owners.ravel() == number
        x, y = (places[mine] - (region.x, region.y)).T
        ignored[mine] = reference.draw_ignored(region, grid)[y, x]
    return ignored

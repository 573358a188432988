"""Label maps to annotations, block by block: trace each block anywhere, then join what its borders cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.outlines import trace_objects
from wsiparse.annotations.pieces import Pieces, Tally, gather_pieces
from wsiparse.annotations.seams import find_runs, join_seams
from wsiparse.annotations.simplify import simplify_outlines
from wsiparse.geometry import Grid, Region
from wsiparse.ontology import Target

LabelMap = NDArray[np.integer[Any]]
"""Codes of a group's targets [height, width]: k is the k-th target, 0 none of them."""
_BATCH = 4096


def trace_block(labels: LabelMap, scores: NDArray[np.uint8] | None, region: Region) -> Pieces:
    """Outline every 4-connected object of a block's label map [height, width]; a corner alone does not connect.

    `scores` are the probabilities of the group's targets in 0..255 [targets, height, width]; without them the
    annotations carry none.
    """
    objects, codes = _number_objects(labels)
    outlines = trace_objects(objects)
    pixels = np.bincount(objects.ravel(), minlength=len(codes) + 1)[1:]
    sums = None if scores is None else _sum_scores(objects, labels, scores, len(codes))
    runs = find_runs(objects, region)
    return Pieces(region, outlines.shift(region.x, region.y), codes, pixels, sums, runs)


def _number_objects(labels: LabelMap) -> tuple[NDArray[np.int32], Tally]:
    objects = np.zeros(labels.shape, np.int32)
    codes: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    total = 0
    for code, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        ids, count = ndimage.label(labels[box] == code)
        objects[box] += np.where(ids > 0, ids + total, 0).astype(np.int32)
        codes.append(np.full(count, code, np.int64))
        total += count
    return objects, np.concatenate(codes)


def _sum_scores(objects: NDArray[np.int32], labels: LabelMap, scores: NDArray[np.uint8], count: int) -> Tally:
    rows, columns = np.nonzero(labels)
    values = scores[labels[rows, columns].astype(np.int64) - 1, rows, columns]
    return np.rint(np.bincount(objects[rows, columns], weights=values, minlength=count + 1)[1:]).astype(np.int64)


def join_blocks(
    blocks: Iterable[Pieces], targets: Sequence[Target], grid: Grid, slide_grid: Grid, tolerance: float = 0.5
) -> Iterator[Annotation]:
    """Annotations of a whole canvas, as if it had been traced in one go: order and bytes do not depend on the blocks.

    Pieces of one target that share a pixel edge of a border become one object. Objects come by their topmost, then
    leftmost pixel; those below their target's `min_area_um2` are dropped. `area_um2` counts pixels; the outline, of
    level-0 pixels, is simplified within `tolerance` canvas pixels (see `simplify_outlines`). Memory holds the pieces
    and one batch of geometries.
    """
    parts = sorted(blocks, key=lambda pieces: (pieces.region.y, pieces.region.x))
    if not parts:
        return
    joined, cut = join_seams(parts)
    parts += [joined] if joined else []
    order = _order_objects(parts, cut, _smallest_pixels(targets, grid))
    for start in range(0, len(order), _BATCH):
        batch = gather_pieces(parts, order[start : start + _BATCH])
        yield from _annotate(batch, targets, (grid, slide_grid), tolerance)


def _smallest_pixels(targets: Sequence[Target], grid: Grid) -> NDArray[np.float64]:
    return np.array([0.0, *(target.min_area_um2 / grid.pixel_area_um2 for target in targets)])


def _order_objects(parts: Sequence[Pieces], cut: Tally, smallest: NDArray[np.float64]) -> Tally:
    large = [part.pixels >= smallest[part.codes] * (1 - 1e-9) for part in parts]
    whole = np.concatenate(large)
    whole[cut] = False
    keys = np.concatenate([part.outlines.find_first_pixels() for part in parts])
    places = np.flatnonzero(whole)
    return places[np.argsort(keys[places])]


def _annotate(
    pieces: Pieces, targets: Sequence[Target], grids: tuple[Grid, Grid], tolerance: float
) -> Iterator[Annotation]:
    grid, slide_grid = grids
    # One canonical form, whatever ring and corner the tracing or the joining began with.
    exact = shapely.normalize(pieces.outlines.drop_straight_corners().to_shapely())
    polygons = simplify_outlines(exact, grid.scale_to(slide_grid), tolerance)
    areas = (pieces.pixels * grid.pixel_area_um2).tolist()
    means = [None] * len(pieces) if pieces.scores is None else (pieces.scores / pieces.pixels / 255).tolist()
    for code, polygon, area_um2, mean in zip(pieces.codes, polygons, areas, means, strict=True):
        yield Annotation(targets[code - 1].name, polygon, area_um2, mean)

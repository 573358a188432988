"""Label maps to annotations, block by block: trace each block anywhere, then join what its borders cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsiparse.annotations.annotation import Annotation, RunnerUp
from wsiparse.annotations.measures import list_shapes, measure_shapes, sum_scores, weigh_scores
from wsiparse.annotations.pieces import Pieces, Tally
from wsiparse.annotations.seams import find_runs, join_rows
from wsiparse.annotations.simplify import simplify_outlines
from wsiparse.annotations.tracing import trace_objects
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
    sums = None if scores is None else sum_scores(objects, scores, len(codes))
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


def join_blocks(
    blocks: Iterable[Pieces], targets: Sequence[Target], grid: Grid, slide_grid: Grid, tolerance: float = 0.5
) -> Iterator[Annotation]:
    """Annotations of a whole canvas, as if it had been traced in one go: order and bytes do not depend on the blocks.

    Blocks come row by row, in any order within a row; PlanError if they do not. Pieces of one target that share a pixel
    edge of a border become one object. Objects come by their bottommost, then rightmost pixel, so that each is passed
    on once the blocks around it are there; those below their target's `min_area_um2` are dropped. `area_um2` counts
    pixels; the outline, of level-0 pixels, is simplified within `tolerance` canvas pixels (see `simplify_outlines`).
    Memory holds a row of blocks and the objects that reach beyond it.
    """
    smallest = _smallest_pixels(targets, grid) * (1 - 1e-9)
    for row in join_rows(blocks):
        large = np.flatnonzero(row.pixels >= smallest[row.codes])
        for start in range(0, len(large), _BATCH):
            yield from _annotate(row.take(large[start : start + _BATCH]), targets, (grid, slide_grid), tolerance)


def _smallest_pixels(targets: Sequence[Target], grid: Grid) -> NDArray[np.float64]:
    return np.array([0.0, *(target.min_area_um2 / grid.pixel_area_um2 for target in targets)])


def _annotate(
    pieces: Pieces, targets: Sequence[Target], grids: tuple[Grid, Grid], tolerance: float
) -> Iterator[Annotation]:
    grid, slide_grid = grids
    polygons = simplify_outlines(pieces.outlines, grid.scale_to(slide_grid), tolerance)
    names = [targets[code - 1].name for code in pieces.codes.tolist()]
    areas = (pieces.pixels * grid.pixel_area_um2).tolist()
    means, runners_up = _list_certainties(pieces, targets)
    shapes = list_shapes(measure_shapes(polygons, slide_grid))
    return map(Annotation, names, polygons, areas, means, shapes, runners_up)


def _list_certainties(
    pieces: Pieces, targets: Sequence[Target]
) -> tuple[Sequence[float | None], Sequence[RunnerUp | None]]:
    nothing = [None] * len(pieces)
    if pieces.scores is None:
        return nothing, nothing
    found = weigh_scores(pieces.scores, pieces.pixels, pieces.codes)
    means = found.probability.tolist()
    if len(targets) == 1:
        return means, nothing
    names = [targets[code - 1].name for code in found.runner_up.tolist()]
    return means, list(map(RunnerUp, names, found.runner_up_probability.tolist()))

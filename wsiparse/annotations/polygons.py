"""Label maps to annotations, block by block: trace each block anywhere, then join what its borders cut."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.batches import MEASURES, Batch, Column
from wsiparse.annotations.measures import measure_shapes, sum_scores, weigh_scores
from wsiparse.annotations.numbering import LabelMap, number_objects
from wsiparse.annotations.pieces import Pieces, Tally
from wsiparse.annotations.seams import find_runs, join_rows
from wsiparse.annotations.simplify import simplify_outlines
from wsiparse.annotations.tracing import trace_objects
from wsiparse.geometry import Grid, Region
from wsiparse.ontology import Target

_BATCH, _THREADS = 4096, 2


def trace_block(labels: LabelMap, scores: NDArray[np.uint8] | None, region: Region) -> Pieces:
    """Outline every 4-connected object of a block's label map [height, width]; a corner alone does not connect.

    `scores` are the probabilities of the group's targets in 0..255 [targets, height, width]; without them the
    annotations carry none.
    """
    objects, codes = number_objects(labels)
    outlines = trace_objects(objects)
    pixels = outlines.measure_areas()
    sums = None if scores is None else sum_scores(objects, scores, len(codes))
    runs = find_runs(objects, region)
    return Pieces(region, outlines.shift(region.x, region.y), codes, pixels, sums, runs)


def join_blocks(
    blocks: Iterable[Pieces], targets: Sequence[Target], grid: Grid, slide_grid: Grid, tolerance: float = 0.5
) -> Iterator[Annotation]:
    """Annotations of a whole canvas, as if it had been traced in one go: order and bytes do not depend on the blocks.

    Blocks come row by row, in any order within a row; PlanError if they do not. Pieces of one target that share a pixel
    edge of a border become one object. Objects come by their bottommost, then rightmost pixel, so that each is passed
    on once the blocks around it are there; those below their target's `min_area_um2` are dropped. `area_um2` counts
    pixels; the outline, of level-0 pixels, is simplified within `tolerance` canvas pixels (see `simplify_outlines`)
    and ends where the slide ends.
    Memory holds a row of blocks and the objects that reach beyond it.
    """
    for batch in join_batches(blocks, targets, grid, slide_grid, tolerance):
        yield from batch.list_annotations()


def join_batches(
    blocks: Iterable[Pieces], targets: Sequence[Target], grid: Grid, slide_grid: Grid, tolerance: float = 0.5
) -> Iterator[Batch]:
    """The annotations of `join_blocks` by the thousand, as writers take them; two threads measure them."""
    smallest = _smallest_pixels(targets, grid) * (1 - 1e-9)

    def annotate(pieces: Pieces) -> Batch:
        return _annotate(pieces, targets, (grid, slide_grid), tolerance)

    with ThreadPoolExecutor(_THREADS, "annotate") as threads:
        for row in join_rows(blocks):
            yield from _map_ahead(threads, annotate, _cut(row, np.flatnonzero(row.pixels >= smallest[row.codes])))
            del row  # before the next one is joined


def _cut(pieces: Pieces, places: Tally) -> Iterator[Pieces]:
    return (pieces.take(places[start : start + _BATCH]) for start in range(0, len(places), _BATCH))


def _map_ahead(threads: ThreadPoolExecutor, act: Callable[[Pieces], Batch], parts: Iterable[Pieces]) -> Iterator[Batch]:
    """What `act` makes of each part, in their order, few of them ahead."""
    waiting: deque[Future[Batch]] = deque()
    for part in parts:
        waiting.append(threads.submit(act, part))
        if len(waiting) > _THREADS:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _smallest_pixels(targets: Sequence[Target], grid: Grid) -> NDArray[np.float64]:
    return np.array([0.0, *(target.min_area_um2 / grid.pixel_area_um2 for target in targets)])


def _annotate(pieces: Pieces, targets: Sequence[Target], grids: tuple[Grid, Grid], tolerance: float) -> Batch:
    grid, slide_grid = grids
    corner = slide_grid.width, slide_grid.height
    polygons = simplify_outlines(pieces.outlines, grid.scale_to(slide_grid), tolerance, corner)
    names = [targets[code - 1].name for code in pieces.codes.tolist()]
    areas = np.asarray(pieces.pixels * grid.pixel_area_um2)
    shapes = measure_shapes(polygons, slide_grid)
    shape = shapes.perimeter_um, shapes.convex_ratio, shapes.box_ratio, shapes.inertia_ratio
    mean, runners_up, second = _list_certainties(pieces, targets)
    columns: tuple[Column, ...] = areas, mean, *shape, second
    measures: dict[str, Column] = dict(zip(MEASURES, columns, strict=True))
    return Batch(names, polygons, measures, runners_up, on_grid=True)


def _list_certainties(pieces: Pieces, targets: Sequence[Target]) -> tuple[Column, Sequence[str | None], Column]:
    """Mean probabilities, targets that come next, and their means."""
    nothing = [None] * len(pieces)
    if pieces.scores is None:
        return nothing, nothing, nothing
    found = weigh_scores(pieces.scores, pieces.pixels, pieces.codes)
    if len(targets) == 1:
        return found.probability, nothing, nothing
    names = [targets[code - 1].name for code in found.runner_up.tolist()]
    return found.probability, names, found.runner_up_probability

"""Does evaluating a gigapixel slide fit into 1 GB? A sparse label map of 100,000² pixels against 100,000 outlines.

    python -m benchmarks.evaluate [SIDE]

Discs are predicted in every seventh block, a little aside of those that the reference draws; pixels, calibration,
confusion, shape and objects are measured. Memory is the peak resident set of the process, what it imports included.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from benchmarks.report import Row, print_table, write_result
from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.outlines import Polygons
from wsiparse.evaluation.evaluate import evaluate_slide, open_prediction
from wsiparse.evaluation.instances import score_instances
from wsiparse.evaluation.outlines import OutlineReference
from wsiparse.geometry import Grid, Region
from wsiparse.maps.canvas import create_canvas, write_block
from wsiparse.maps.labels import LabelImage, create_labels, write_labels
from wsiparse.ontology import Target
from wsiparse.slides.levels import cut_region
from wsiparse.tiles.plan import Block, Tiling

SIDE, MPP = 100_000, 0.25
TARGETS = (
    Target("nuclei", "nuclei in pathology", "cells", (203, 108, 72), MPP, instances=True),
    Target("tumour", "tumour in pathology", "cells", (91, 127, 181), MPP),
)
RADIUS, SPACING, ASIDE = 10, 100, 3
EVERY = 7


def write_slide(folder: Path, grid: Grid) -> tuple[LabelImage, Polygons]:
    """The label map with its probabilities, and the outlines in it."""
    tiling = Tiling(grid, 512, 0, 4)
    image = create_labels(create_canvas(folder / "canvas", "d" * 64, tiling, TARGETS), TARGETS[0].group)
    found = []
    for number, region in enumerate(cut_region(grid.region, (tiling.block, tiling.block))):
        if number % EVERY == 0:
            centers = place_discs(region)
            labels = draw_discs(centers - (region.x, region.y), tiling.block)
            block = Block(region.y // tiling.block, region.x // tiling.block, region, ())
            clipped = labels[: region.height, : region.width]
            write_block(image.canvas, block, np.stack([clipped * np.uint8(200), clipped * np.uint8(20)]))
            write_labels(image, block, clipped)
            found.append(shapely.buffer(shapely.points(centers), RADIUS, quad_segs=8))
    return image, np.concatenate(found)


def place_discs(region: Region) -> NDArray[np.float64]:
    """Centres x, y of the discs that lie within a region [discs, 2]."""
    x, y = (np.arange(start + SPACING / 2, end - SPACING / 2, SPACING) for start, end in _list_sides(region))
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def _list_sides(region: Region) -> tuple[tuple[int, int], tuple[int, int]]:
    return (region.x, region.right), (region.y, region.bottom)


def draw_discs(centers: NDArray[np.float64], side: int) -> NDArray[np.uint8]:
    """Code 1 in each disc of a block [side, side]."""
    rows, columns = np.indices((2 * RADIUS, 2 * RADIUS)) - RADIUS + 0.5
    disc = (rows**2 + columns**2 < RADIUS**2).astype(np.uint8)
    labels = np.zeros((side, side), np.uint8)
    for x, y in centers.astype(int).tolist():
        labels[y - RADIUS : y + RADIUS, x - RADIUS : x + RADIUS] = disc
    return labels


def measure(side: int) -> Row:
    """Dice, seconds and peak memory of one slide."""
    grid = Grid(side, side, MPP)
    with tempfile.TemporaryDirectory() as folder:
        image, found = write_slide(Path(folder), grid)
        before, began = time.process_time(), time.perf_counter()
        drawn = shapely.transform(found, lambda points: points + np.array([ASIDE, 0]))
        reference = OutlineReference((("nuclei", Annotation("nuclei", part, 0)) for part in drawn), grid)
        evaluation = evaluate_slide("synthetic", open_prediction(image), reference)
        objects = score_instances(found, "nuclei", reference, grid)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "side": side,
        "outlines": len(found),
        "dice": evaluation.scores[0].dice,
        "pq": objects.panoptic_quality if objects else None,
        "seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(time.process_time() - before, 1),
        "peak_gb": round(peak / 1e9, 3),
    }


def main() -> None:
    """Measure one slide; figures are kept of the full size alone."""
    side = int(sys.argv[1]) if len(sys.argv) > 1 else SIDE
    rows = [measure(side)]
    print_table("evaluation of one slide", rows)
    if side == SIDE:
        write_result("evaluate", rows)


if __name__ == "__main__":
    main()

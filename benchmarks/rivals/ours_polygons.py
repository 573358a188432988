"""Our way from a label map to polygons: block by block, joined, simplified, measured, as GeoJSON and GeoParquet."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import shapely

from benchmarks.nuclei import MPP, find_side, read_nuclei
from benchmarks.rivals.marks import Marks
from wsiparse.annotations.geojson import open_geojson
from wsiparse.annotations.identity import identify
from wsiparse.annotations.instances import InstanceTracing, trace_instance_block
from wsiparse.annotations.parquet import open_parquet
from wsiparse.annotations.pieces import Pieces
from wsiparse.annotations.polygons import join_batches
from wsiparse.geometry import Grid, Region
from wsiparse.ontology import Target
from wsiparse.slides.slide import Slide

BLOCK = 1536
"""Pixels of the side of a block, as a run has it unasked."""
TRACERS, AHEAD = 2, 4
"""Threads that trace, and blocks that wait to be joined."""


def trace_map(path: Path, side: int, targets: tuple[Target, ...]) -> Iterator[Pieces]:
    """The pieces of each block in their order, traced ahead by workers as in a run; here they are threads."""
    tracing = InstanceTracing.of_targets(targets, MPP)

    def trace(region: Region) -> Pieces:
        seen = region.grow(tracing.halo)
        labels = read_nuclei(path, side, range(seen.y, seen.bottom), range(seen.x, seen.right))
        return trace_instance_block(labels, labels[None] * np.uint8(200), region, tracing)

    waiting: deque[Future[Pieces]] = deque()
    with ThreadPoolExecutor(TRACERS) as threads:
        for y, x in product(range(0, side, BLOCK), repeat=2):
            waiting.append(threads.submit(trace, Region(x, y, min(BLOCK, side - x), min(BLOCK, side - y))))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        yield from (traced.result() for traced in waiting)


def main(path: Path, output: Path, lattice: int, instances: bool) -> None:
    """Write both files; prints how many objects and their area in pixels."""
    marks = Marks()
    side, count, area = find_side(lattice), 0, 0.0
    grid, slide_grid = Grid(side, side, MPP), Grid(2 * side, 2 * side, MPP / 2)
    slide = Slide("nuclei", "nuclei.svs", (slide_grid,), "manifest")
    targets = (Target("nuclei", "nuclei", "cells", (50, 90, 255), MPP, instances=instances),)
    with (
        open_geojson(output / "a.geojson.gz", slide, targets) as geojson,
        open_parquet(output / "a.parquet", slide) as parquet,
    ):
        for batch in identify(join_batches(trace_map(path, side, targets), targets, grid, slide_grid), slide.id):
            geojson.write(batch)
            parquet.write(batch)
            count, area = count + len(batch), area + float(shapely.area(batch.polygons).sum()) / 4
    marks.set("ended")
    print(json.dumps({"objects": count, "area": area}))
    marks.print()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "instances")

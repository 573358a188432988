"""How many touching nuclei a second does one core set apart, outline and measure?

    python -m benchmarks.instances

Discs of 7 µm on a lattice, each touching its neighbours, and sparse ones: 2000² pixels at 0.5 µm. CPU seconds, the
best of three.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import print_table, write_result
from wsiparse.annotations.instances import InstanceTracing, trace_instance_block
from wsiparse.annotations.measures import measure_shapes, sum_scores
from wsiparse.annotations.splitting import Splitting, find_objects
from wsiparse.annotations.tracing import trace_objects
from wsiparse.geometry import Grid, Region
from wsiparse.ontology import Target

SIDE, MPP = 2000, 0.5
NUCLEI = Target("nuclei", "nuclei", "nuclei", (50, 90, 255), MPP, instances=True)


def time_best(act: Callable[[], Any]) -> float:
    """CPU seconds of the fastest of three calls."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        act()
        seconds.append(time.process_time() - start)
    return min(seconds)


def draw_lattice(pitch: int) -> NDArray[np.bool_]:
    """Discs of 15 pixels, `pitch` pixels apart."""
    rows, columns = np.indices((SIDE, SIDE)) % pitch - pitch // 2
    return rows**2 + columns**2 <= 49


def measure_lattice(pitch: int) -> dict[str, float]:
    """Objects, and objects a second of each step."""
    mask = draw_lattice(pitch)
    probability = np.where(mask, 255, 0).astype(np.uint8)
    ids, _ = find_objects(mask, probability, MPP, Splitting())
    outlines = trace_objects(np.ascontiguousarray(ids))
    polygons, grid = outlines.to_shapely(), Grid(SIDE, SIDE, MPP)
    tracing = InstanceTracing.of_targets([NUCLEI], MPP)
    region = Region(0, 0, SIDE, SIDE).grow(-tracing.halo)
    labels, scores = mask.astype(np.uint8), probability[None]
    steps = {
        "split": time_best(lambda: find_objects(mask, probability, MPP, Splitting())),
        "outline": time_best(lambda: trace_objects(np.ascontiguousarray(ids))),
        "shapes": time_best(lambda: measure_shapes(polygons, grid)),
        "sums": time_best(lambda: sum_scores(ids, scores, len(outlines))),
    }
    whole = len(trace_instance_block(labels, scores, region, tracing))
    block = time_best(lambda: trace_instance_block(labels, scores, region, tracing))
    rates = {f"{step}_per_second": round(len(outlines) / seconds) for step, seconds in steps.items()}
    return {"pitch": pitch, "objects": len(outlines), **rates, "block_with_halo_per_second": round(whole / block)}


def main() -> None:
    """Measure dense and sparse nuclei and print the table."""
    rows = [measure_lattice(pitch) for pitch in (13, 20, 40)]
    print_table("nuclei a second and core", rows)
    write_result("instances", rows)


if __name__ == "__main__":
    main()

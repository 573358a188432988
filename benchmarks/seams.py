"""Do core borders show? The jump of probability across them against its jump elsewhere, for several margins.

    python -m benchmarks.seams [SLIDE]

For each overlap the slide (by default the CMU-1 region) is parsed with the default model, and the absolute difference
of neighbouring pixels is averaged over the pairs that lie on two sides of a core border and over all other pairs. A
ratio of 1 means that borders cannot be told from the rest.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import wsiparse
from benchmarks.report import print_table, write_result
from wsiparse.maps.canvas import list_canvases, read_region

SLIDE = Path(__file__).parents[1] / "tests/data/CMU-1-Small-Region.svs"
OVERLAPS = (0, 16, 32, 64, 128, 192)


def measure_jumps(plane: NDArray[np.uint8], core: int, axis: int) -> tuple[float, float]:
    """Mean absolute difference in 0..1 across core borders and elsewhere, along one axis of a map [Y, X]."""
    jumps = np.abs(np.diff(plane.astype(np.float32), axis=axis)) / 255
    places = np.arange(1, plane.shape[axis]) % core == 0
    return float(np.compress(places, jumps, axis).mean()), float(np.compress(~places, jumps, axis).mean())


def measure_overlap(slide: Path, overlap: int, folder: Path) -> list[dict[str, object]]:
    """One row a target that is found where borders run both ways: jumps there and elsewhere, their ratio, tiles."""
    results = wsiparse.run(slide, folder, overlap=overlap)
    rows: list[dict[str, object]] = []
    for canvas in list_canvases(folder / results.slides[0] / "parse.zarr"):
        maps = read_region(canvas, canvas.grid.region)
        for target, plane in zip(canvas.targets, maps, strict=True):
            if plane.max() < 128 or min(plane.shape) <= canvas.tiling.core:
                continue
            pairs = np.array([measure_jumps(plane, canvas.tiling.core, axis) for axis in (0, 1)])
            border, elsewhere = pairs.mean(0)
            row = {"overlap": overlap, "pass": Path(canvas.path).name, "target": target.name}
            jumps = {"at borders": border, "elsewhere": elsewhere, "ratio": border / elsewhere}
            rows.append({**row, **{name: float(value) for name, value in jumps.items()}})
    tiles = results.summary()["tiles"]
    return [{**row, "tiles": tiles} for row in rows]


def main() -> None:
    """Measure every overlap and print the table."""
    slide = Path(sys.argv[1]) if len(sys.argv) > 1 else SLIDE
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for overlap in OVERLAPS:
            rows += measure_overlap(slide, overlap, Path(folder, str(overlap)))
    print_table("jump of probability at core borders", rows)
    write_result("seams", rows)


if __name__ == "__main__":
    main()

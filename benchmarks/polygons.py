"""How long do a million nuclei take from a label map to files of polygons, and how much memory?

    python -m benchmarks.polygons [--lattice 1000] [--turns 1]

A map of lattice² nuclei, a bit a pixel on disk, is traced in blocks of 1536 pixels, joined, simplified, measured and
written as .geojson.gz and GeoParquet, once as connected objects and once as instances, touching ones told apart. The
rival is what people write by hand: OpenCV's contours of the whole map and json.dump, no simplification, no Parquet.
Each in a process of its own, in turns: seconds after the imports (median), processor seconds likewise, memory above
what the imports took, size of the files, and by how much the polygons' area differs from that of the pixels.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.nuclei import draw_nuclei
from benchmarks.peers import ABSENT, peer_python
from benchmarks.processes import measure_command, own_python
from benchmarks.report import Row, print_table, write_result
from benchmarks.rivals.marks import read_marks

CONTENDERS = ("wsiparse, connected objects", "wsiparse, touching told apart", "OpenCV and json.dump")


def main() -> None:
    """Draw the map, let the contenders take turns, print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lattice", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "nuclei.bits")
        draw_nuclei(path, options.lattice)
        pixels = int(np.bitwise_count(np.fromfile(path, np.uint8)).sum(dtype=np.int64))
        taken = [[measure(name, path, options.lattice) for name in CONTENDERS] for _ in range(options.turns)]
    rows = [summarize(name, [turn[n] for turn in taken], pixels) for n, name in enumerate(CONTENDERS)]
    print_table("polygons", rows)
    print(write_result("polygons", rows))


def build_command(name: str, path: Path, output: Path, lattice: int) -> list[str] | None:
    """The command of a contender; None where its environment cannot be had."""
    if name == CONTENDERS[2]:
        return peer_python("benchmarks.rivals.contours", path, output, lattice)
    kind = "connected" if name == CONTENDERS[0] else "instances"
    return own_python("benchmarks.rivals.ours_polygons", path, output, lattice, kind)


def measure(name: str, path: Path, lattice: int) -> dict[str, float] | None:
    """What one contender took in one turn; None where it is absent."""
    with tempfile.TemporaryDirectory() as folder:
        command = build_command(name, path, Path(folder), lattice)
        if command is None:
            return None
        cost = measure_command(command)
        if cost.trouble:
            raise SystemExit(f"{name}: {cost.trouble}\n{cost.output}")
        marks = read_marks(cost.output)
        began, ended = marks["began"], marks["ended"]
        found: dict[str, float] = json.loads(cost.output.splitlines()[-3])
        return {
            **found,
            "seconds": ended.time - began.time,
            "processor_seconds": ended.processor_seconds - began.processor_seconds,
            "gb_above_imports": cost.peak_gb(ended.time) - cost.peak_gb(began.time),
            "files_mb": sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6,
        }


def summarize(name: str, turns: list[dict[str, float] | None], pixels: int) -> Row:
    """Medians of the turns."""
    had = [turn for turn in turns if turn is not None]
    if not had:
        return {"contender": name, "note": ABSENT}
    middle = {key: statistics.median(turn[key] for turn in had) for key in had[0]}
    area = middle.pop("area") / pixels - 1
    return {"contender": name, **middle, "area_error_percent": 100 * area, "turns": len(had), "note": ""}


if __name__ == "__main__":
    main()

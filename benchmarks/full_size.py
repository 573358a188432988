"""BiomedParse at its published size in a run: killed after its first block, continued, and what came out checked.

    python -m benchmarks.full_size [SIDE]      SIDE: pixels of the image that the network sees; 1024 unless given

A piece of CMU-1 that holds two tiles of cells and one of glands, on CPU, through `wsiparse run --model biomedparse`.
The weights are seeded random numbers under the official names: what is found means nothing, what it costs does.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import wsiparse
from benchmarks.prompts import write_random
from benchmarks.report import Row, print_table, write_result
from tests.drawing import CMU_1
from wsiparse.geometry import Region
from wsiparse.models.network import PUBLISHED
from wsiparse.runs.results import Results
from wsiparse.slides.open import open_slide

PIECE = Region(950, 500, 190, 96)
"""Of the slide at 0.499 µm: 379 × 192 pixels at 0.25 µm, two cores of 192."""
MPP = 0.499
TARGETS = "neoplastic cells,inflammatory cells,glandular structure"


def main() -> None:
    """Run, kill, continue, check, report."""
    side = int(sys.argv[1]) if sys.argv[1:] else 1024
    with tempfile.TemporaryDirectory() as folder:
        row = measure_run(Path(folder), side)
    print_table("A run of the published size on CPU", [row])
    print(write_result(f"full_size_{side}", [row]))


def measure_run(folder: Path, side: int) -> Row:
    """Seconds and memory of a run that is killed and continued."""
    command = spell_command(write_random(folder, PUBLISHED), cut_piece(folder / "piece.png"), folder / "out", side)
    start = time.perf_counter()
    first = kill_after_block(command, folder / "out")
    killed = time.perf_counter()
    subprocess.run(command, check=True)
    ended = time.perf_counter()
    results = wsiparse.open_run(folder / "out")
    return {
        "input_side": side,
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        **check_results(results, first),
        "seconds_until_killed": killed - start,
        "seconds_to_continue": ended - killed,
        "predict_seconds_a_tile": results.summary()["seconds"]["predict"] / 2,  # those of the continued process
        "peak_gb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9,
    }


def spell_command(weights: Path, slide: Path, output: Path, side: int) -> list[str]:
    """The run as a person starts it; one tile a block, one process."""
    model = ["--model", "biomedparse", "--weights", str(weights), "--input-side", str(side), "--device", "cpu"]
    plan = ["--targets", TARGETS, "--mpp", str(MPP), "--no-tissue", "--block-tiles", "1", "--cluster", "serial"]
    return [sys.executable, "-m", "wsiparse", "run", str(slide), "-o", str(output), *model, *plan]


def cut_piece(path: Path) -> Path:
    """A piece of the slide as an image."""
    Image.fromarray(open_slide(CMU_1).read_region(PIECE, 0)).save(path)
    return path


def kill_after_block(command: list[str], output: Path) -> dict[Path, int]:
    """Kill a run once it has written a block; the shards on disk, and when each was written."""
    process = subprocess.Popen(command)
    while not (shards := list_shards(output)):
        if process.poll() is not None:
            raise SystemExit("the run ended before its first block")
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return shards


def list_shards(output: Path) -> dict[Path, int]:
    """Blocks of the finest level on disk, and when each was written."""
    shards = [path for path in output.rglob("0/c/0/*/*") if path.name.isdecimal()]
    return {path: path.stat().st_mtime_ns for path in shards}


def check_results(results: Results, first: dict[Path, int]) -> Row:
    """What came out; AssertionError where a block was done twice, a map is missing, empty or of another size."""
    last = list_shards(results.run.path)
    assert first.items() < last.items(), "a block was done twice, or none was left to do"
    for name in TARGETS.split(","):
        values = np.asarray(results.probability(name))
        assert values.dtype == np.uint8
        assert len(np.unique(values)) > 1, f"{name}: the map is flat"
    shapes = {name: np.asarray(results.probability(name)).shape for name in TARGETS.split(",")}
    summary = results.summary()
    figures = [value for entry in summary["targets"] for value in entry.values() if isinstance(value, float)]
    assert np.isfinite(figures).all()
    assert len(results.annotations()) == sum(entry["objects"] for entry in summary["targets"])
    return {"tiles": len(last), "tiles_before_kill": len(first), "maps": str(shapes)}


if __name__ == "__main__":
    main()

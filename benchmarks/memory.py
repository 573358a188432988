"""Does memory grow with the slide? Whole runs over slides of 16384² and 32768² pixels, peak of all their processes.

    python -m benchmarks.memory

Slides are the CMU-1 region mirrored to the size: real tissue in a tiled JPEG pyramid. The model is two convolutions.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.report import print_table, write_result
from tests.drawing import mirror_cmu_1, write_slide

SIDES = (16384, 32768)


def measure_run(slide: Path, output: Path) -> dict[str, float]:
    """Seconds and peak memory of `wsiparse run` and all its children: the sum of what each alone keeps resident."""
    command = [
        sys.executable,
        "-m",
        "wsiparse",
        "run",
        str(slide),
        "-o",
        str(output),
        "--model",
        "benchmarks.tiny:build",
    ]
    start, peak = time.perf_counter(), 0
    process = psutil.Popen([*command, "--overlap", "64", "--no-tissue", "--mpp", "0.5"], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, resident_bytes(process))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{slide}: the run ended with {process.returncode}")
    return {"seconds": time.perf_counter() - start, "peak_gb": peak / 1e9}


def resident_bytes(process: psutil.Process) -> int:
    """Resident memory of a process and its children; one that ends meanwhile counts nothing."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def main() -> None:
    """Measure each size once and print the table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for side in SIDES:
            slide = write_slide(Path(folder, f"{side}.svs"), (side, side), 0.5, mirror_cmu_1())
            rows.append({"side": side, **measure_run(slide, Path(folder, str(side)))})
    print_table("memory of a whole run", rows)
    write_result("memory", rows)


if __name__ == "__main__":
    main()

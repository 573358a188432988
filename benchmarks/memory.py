"""Does memory grow with the slide? Whole runs over slides of 16384² and 32768² pixels, peak of all their processes.

    python -m benchmarks.memory [SIDE …]

Slides are full of real tissue, the model is two convolutions; memory is counted as benchmarks/processes.py says.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.processes import measure_command, own_python
from benchmarks.report import Row, print_table, write_result
from benchmarks.slides import find_slide

SIDES = (16384, 32768)
OPTIONS = ("--model", "benchmarks.tiny:build", "--overlap", "64", "--no-tissue", "--mpp", "0.5")


def measure_run(slide: Path, output: Path) -> Row:
    """Seconds and peak memory of `wsiparse run` and all its children."""
    cost = measure_command(own_python("wsiparse", "run", slide, "-o", output, *OPTIONS))
    if cost.trouble:
        raise SystemExit(f"{slide}: the run {cost.trouble}")
    return {"seconds": cost.seconds, "peak_gb": cost.peak_gb(), "private_peak_gb": cost.private_peak_gb()}


def main() -> None:
    """Measure each size once and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sides", type=int, nargs="*", default=SIDES, metavar="SIDE")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for side in parser.parse_args().sides:
            rows.append({"side": side, **measure_run(find_slide(side), Path(folder, str(side)))})
    print_table("memory of a whole run", rows)
    write_result("memory", rows)


if __name__ == "__main__":
    main()

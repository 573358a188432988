"""All benchmarks, one after another, each in a process of its own: `make bench`, or `python -m benchmarks NAME …`."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPTS = (
    "read_tiles",
    "whole_slide",
    "ceiling",
    "one_machine",
    "scaling",
    "memory",
    "cohort",
    "seams",
    "polygons",
    "instances",
    "prompts",
    "precision",
    "absent",
    "slide_cost",
)
NEED_DATA = ("model_quality", "run_quality", "validity", "tile_size")
"""Measured on the full data sets, which WSIPARSE_SHARED_DATA names."""


def main() -> int:
    """Run the named benchmarks, or all that can run here; returns how many failed."""
    named = sys.argv[1:] or [*SCRIPTS, *(NEED_DATA if os.environ.get("WSIPARSE_SHARED_DATA") else ())]
    failed = [name for name in named if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode]
    for name in failed:
        print(f"benchmark {name} failed", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())

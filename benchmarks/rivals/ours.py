"""A whole run of wsiparse, as the command line does it, with the moment the last block was stored.

python -m benchmarks.rivals.ours SLIDE OUT full|tissue OVERLAP
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.rivals.marks import Marks
from wsiparse.runs.config import RunConfig
from wsiparse.runs.manifest import list_slides
from wsiparse.runs.parse import parse_run
from wsiparse.runs.pipeline import BlockRecord


def main(slide: str, output: str, area: str, overlap: str) -> None:
    """Parse the slide and print when the work began, when all probabilities were on disk, and when it ended."""
    marks = Marks()

    def listen(event: str, name: str, record: BlockRecord | None) -> None:
        if event == "block":
            marks.set("probabilities")
        if event == "failed":
            raise SystemExit(f"{name} failed; see {output}")

    config = RunConfig(model="benchmarks.tiny:build", overlap=int(overlap), tissue=area == "tissue")
    parse_run(list_slides([slide]), Path(output), config, listen)
    marks.set("ended")
    marks.print()


if __name__ == "__main__":
    main(*sys.argv[1:5])

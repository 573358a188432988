"""A run over a cohort on the workers of a scheduler, which tells when what came and what memory the client held.

python -m benchmarks.rivals.cohort MANIFEST OUT SCHEDULER_FILE MODEL
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path

import psutil

from wsiparse.runs.config import RunConfig
from wsiparse.runs.manifest import read_manifest
from wsiparse.runs.parse import parse_run
from wsiparse.runs.pipeline import BlockRecord

OVERLAP = 16
POINTS = 20
"""Readings of memory over a cohort."""


class Watch:
    """A listener that counts, and reads the client's memory now and then."""

    def __init__(self, slides: int) -> None:
        self.every = max(slides // POINTS, 1)
        self.seen: Counter[str] = Counter()
        self.process = psutil.Process()
        self.memory: list[tuple[int, int]] = []
        self.began = self.ended = 0.0
        self.processor_seconds = 0.0

    def listen(self, event: str, slide: str, record: BlockRecord | None) -> None:
        """Take note of an event."""
        self.seen[event] += 1
        if event == "failed":
            raise SystemExit(f"{slide} failed")
        if event == "started" and not self.began:
            self.began, self.processor_seconds = time.time(), time.process_time()
        elif event == "done":
            self.ended = time.time()
            self._read_memory(self.seen["done"])

    def _read_memory(self, slides: int) -> None:
        if slides % self.every == 0:
            self.memory.append((slides, self.process.memory_info().rss))


def main(manifest: str, output: str, scheduler: str, model: str) -> None:
    """Run the cohort and print what was seen."""
    rows = read_manifest(Path(manifest))
    watch = Watch(len(rows))
    config = RunConfig(model=model, overlap=OVERLAP, tissue=False, cluster=scheduler)
    parse_run(rows, Path(output), config, watch.listen)
    spent = time.process_time() - watch.processor_seconds
    seen = {"seconds": watch.ended - watch.began, "processor_seconds": spent, "memory": watch.memory}
    print("\n" + json.dumps({**seen, "blocks": watch.seen["block"], "slides": watch.seen["done"]}))


if __name__ == "__main__":
    main(*sys.argv[1:5])

"""Does a long night cost more than a short one? 1,000 tiny slides: memory of every process, processor a slide.

    python -m benchmarks.cohort [--slides 1000] [--workers 2] [--side 384]

All slides are one file under names of their own; three maps of every slide are written, and outlines are found in each.
Memory is the resident set of the client and of each worker; processor seconds are those of all of them, which other
work on the machine disturbs less than the clock. Growth is the slope of a straight line through the readings
of the second half, when all has been imported and every cache is full.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.processes import list_tree, own_python, start_command
from benchmarks.report import Row, print_table, write_result
from benchmarks.slides import MPP, find_slide
from wsiparse.runs.manifest import ManifestRow, write_manifest

MODEL = "tests.tiny:build_tone"
READINGS = 20
"""Over a cohort."""


@dataclass(frozen=True)
class Reading:
    """Where a run stands, and the memory of its processes."""

    slides: int
    processor_seconds: float
    """Of all of them."""
    megabytes: tuple[float, ...]
    """Of the client, then of each worker."""


def main() -> None:
    """Run the cohort once and write the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slides", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--side", type=int, default=384)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder, "manifest.csv")
        write_cohort(manifest, find_slide(options.side), options.slides)
        command = list_command(manifest, Path(folder, "out"), options.workers)
        readings = list(read_run(command, max(options.slides // READINGS, 1)))
    rows = [describe(before, now) for before, now in itertools.pairwise(readings)]
    growth = measure_growth(readings)
    print_table("a long cohort", rows)
    print_table("growth in the second half", growth)
    print(write_result("cohort", [*rows, *growth]))


def write_cohort(manifest: Path, slide: Path, count: int) -> None:
    """A manifest that names one slide so many times."""
    write_manifest(manifest, [ManifestRow(id=f"s{number}", slide=str(slide), mpp=MPP) for number in range(count)])


def list_command(manifest: Path, output: Path, workers: int) -> list[str]:
    """The run."""
    settings = ("--model", MODEL, "--no-tissue", "--workers", workers)
    return own_python("wsiparse", "run", manifest, "-o", output, *settings)


def read_run(command: Sequence[str], every: int) -> Iterator[Reading]:
    """Readings of a run at every so many slides that are done, from its own events."""
    receiving, sending = os.pipe()
    process = start_command(command, {"OMP_NUM_THREADS": "1"}, subprocess.DEVNULL, sending)
    os.close(sending)
    done = 0
    with process, os.fdopen(receiving) as lines:
        for event in map(read_event, lines):
            done += event == "done"
            if event == "done" and done % every == 0:
                yield take_reading(done, process.pid)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with {process.returncode}")


def read_event(line: str) -> str:
    """The event of a line; nothing where it is none."""
    return str(json.loads(line)["event"]) if line.startswith("{") else ""


def take_reading(slides: int, pid: int) -> Reading:
    """What the client and its workers, in the order they were started, have taken by now."""
    tree = [psutil.Process(one) for one in list_tree(pid)]
    counted = [one for one in tree if one.pid == pid or "spawn_main" in " ".join(one.cmdline())]
    times = [one.cpu_times() for one in counted]
    megabytes = tuple(one.memory_info().rss / 1e6 for one in counted)
    return Reading(slides, sum(time.user + time.system for time in times), megabytes)


def describe(before: Reading, now: Reading) -> Row:
    """Memory at a number of slides, and the pace since the reading before."""
    return {"slides": now.slides, "processor s a slide": price(before, now), **name_processes(now.megabytes, "MB")}


def measure_growth(readings: Sequence[Reading]) -> list[Row]:
    """Megabytes a thousand slides of each process, and how much more processor a slide takes late than early."""
    late = readings[len(readings) // 2 :]
    slides = [reading.slides for reading in late]
    curves = zip(*(reading.megabytes for reading in late), strict=True)
    slopes = [1000 * statistics.linear_regression(slides, curve).slope for curve in curves]
    ratio = price(late[0], late[-1]) / price(readings[0], late[0])
    return [{"processor, late by early": ratio, **name_processes(slopes, "MB per 1,000 slides")}]


def price(before: Reading, now: Reading) -> float:
    """Processor seconds a slide between two readings."""
    return (now.processor_seconds - before.processor_seconds) / (now.slides - before.slides)


def name_processes(values: Sequence[float], unit: str) -> Row:
    """Values by the process they belong to."""
    return {f"{f'worker {n}' if n else 'client'} {unit}": value for n, value in enumerate(values)}


if __name__ == "__main__":
    main()

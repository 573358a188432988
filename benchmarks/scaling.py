"""What does the scheduler carry? 1 to 64 simulated workers, one slide over many, and a cohort of 10,000 slides.

    python -m benchmarks.scaling [--workers 1,8,32,64] [--block-seconds 2] [--slides 10000] [--quick]

Scheduler and client are real and each in a process of its own. Workers are real ones too, but share two processes, and
their accelerator sleeps: `--block-seconds` for the 16 small tiles of a block, which are really read, stitched and
written. Efficiency, once all have imported what they need, is the time in which the accelerators alone could have done
it, by the time from the first slide's start to the last one's end. Each worker gets as many blocks as the others, for
what a last round of a few blocks costs follows their number, not the engine. In the rows named cheap, workers do
nothing but answer: they tell what scheduler and client can do at most, and what the client holds in memory over a long
cohort. All share the cores of this machine, so that a rate is a lower bound; a scheduler with a core of its own carries
one task in `scheduler ms/task`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from distributed import Client, Scheduler, SchedulerPlugin

from benchmarks.options import make_parser, parse_numbers
from benchmarks.processes import measure_command, own_python, start_command
from benchmarks.report import Row, print_table, write_result
from benchmarks.rivals.cohort import OVERLAP
from benchmarks.slides import MPP, find_slide
from benchmarks.tiny import SLEEP, SLEEPING_TILE
from wsiparse.runs.manifest import ManifestRow, write_manifest

TILES = 16
"""Tiles of a block."""
BLOCK = (SLEEPING_TILE - OVERLAP) * 4
LONG = "cheap cohort"
MODEL = "benchmarks.tiny:build_sleeping"


@dataclass(frozen=True)
class Cohort:
    """Slides that are all one file, of so many blocks."""

    name: str
    slides: int
    blocks_a_side: int

    @property
    def slide(self) -> Path:
        """The file."""
        return find_slide(BLOCK * self.blocks_a_side)


WARM_UP = Cohort("warm-up", 1, 2)
"""Has scheduler and workers import what they need, which takes seconds and happens once."""


@dataclass(frozen=True)
class Setting:
    """Workers, and what is run on them."""

    workers: int
    block_seconds: float
    steps: str
    cohorts: tuple[Cohort, ...]


class TaskCount(SchedulerPlugin):
    """Counts the tasks that the scheduler has seen done."""

    name = "task-count"

    def __init__(self) -> None:
        self.tasks = 0

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Told of every change of a task's state."""
        self.tasks += finish == "memory"


def read_count(dask_scheduler: Scheduler) -> int:
    """Runs on the scheduler."""
    plugin: Any = dask_scheduler.plugins[TaskCount.name]
    return int(plugin.tasks)


@dataclass(frozen=True)
class Load:
    """Tasks done and seconds of processor taken so far."""

    tasks: int
    scheduler: float
    workers: float


@dataclass(frozen=True)
class Cluster:
    """A scheduler and its workers."""

    file: Path
    client: Client
    scheduler: psutil.Process
    workers: tuple[psutil.Process, ...]

    def read_load(self) -> Load:
        """What has been done by now."""
        tasks: int = self.client.run_on_scheduler(read_count)
        return Load(tasks, read_processor(self.scheduler), sum(read_processor(worker) for worker in self.workers))


def main() -> None:
    """Measure everything and write the tables."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the processes started here end too
    options, rows, memory = parse_options(), list[Row](), list[Row]()
    for setting in list_settings(options):
        for row, readings in run_setting(setting):
            rows.append(row)
            print(row, file=sys.stderr)
            if row["run"] == LONG:
                memory += readings
    print_table("simulated workers", rows)
    print_table("memory of the client", memory)
    print(write_result("scaling", [*rows, *memory], options.quick))


def parse_options() -> argparse.Namespace:
    """Workers, seconds a block and slides."""
    parser = make_parser("2 and 8 workers, 400 slides")
    parser.add_argument("--workers", type=parse_numbers, default=[1, 8, 32, 64], help="numbers of workers")
    parser.add_argument("--block-seconds", type=float, default=2.0, help="that an accelerator sleeps")
    parser.add_argument("--blocks", type=int, default=10, help="blocks for each worker")
    parser.add_argument("--slides", type=int, default=10_000, help="of the long cohort")
    options = parser.parse_args()
    if options.quick:
        options.workers, options.block_seconds, options.blocks, options.slides = [2, 8], 0.5, 10, 400
    return options


def list_settings(options: argparse.Namespace) -> Iterator[Setting]:
    """As many blocks for each worker however many there are; then one slide, small slides, and what is cheap."""
    most, blocks, seconds = max(options.workers), options.blocks, options.block_seconds
    for workers in options.workers:
        side = max(side for side in range(1, 9) if workers * blocks % side**2 == 0)
        cohorts = [Cohort("cohort", workers * blocks // side**2, side)]
        if workers == most:
            cohorts += [Cohort("one slide", 1, cut_evenly(most, blocks)), Cohort("small slides", most, 3)]
        yield Setting(workers, seconds, "real", tuple(cohorts))
    cheap = (Cohort("cheap blocks", 1, round(options.slides**0.5)), Cohort(LONG, options.slides, 1))
    for cohort in cheap:
        yield Setting(most, 0, "cheap", (cohort,))


def cut_evenly(workers: int, blocks: int) -> int:
    """Side of a square of up to so many blocks for each worker, as many for one as for another where that can be."""
    longest = math.isqrt(workers * blocks)
    return max((side for side in range(1, longest + 1) if side**2 % workers == 0), default=longest)


def run_setting(setting: Setting) -> Iterator[tuple[Row, list[Row]]]:
    """Start the workers and run the cohorts one after another: the row of each, and its client's memory."""
    with tempfile.TemporaryDirectory() as folder, start_cluster(setting, Path(folder)) as cluster:
        if setting.steps == "real":
            run_cohort(WARM_UP, cluster, Path(folder))
        for cohort in setting.cohorts:
            before = cluster.read_load()
            seen = run_cohort(cohort, cluster, Path(folder))
            row = summarize(setting, cohort, seen, (before, cluster.read_load()))
            yield row, [{"slides done": slides, "client GB": size / 1e9} for slides, size in seen["memory"]]


def run_cohort(cohort: Cohort, cluster: Cluster, folder: Path) -> dict[str, Any]:
    """Run one cohort; what its client saw."""
    manifest = folder / f"{cohort.name}.csv"
    write_manifest(manifest, [make_row(cohort, number) for number in range(cohort.slides)])
    command = own_python("benchmarks.rivals.cohort", manifest, folder / cohort.name, cluster.file, MODEL)
    cost = measure_command(command)
    if cost.trouble:
        raise SystemExit(f"{cohort}: {cost.trouble}\n{cost.output}")
    seen: dict[str, Any] = json.loads(cost.output.splitlines()[-1])
    return seen


def make_row(cohort: Cohort, number: int) -> ManifestRow:
    """One of the cohort's slides, all of which are one file."""
    return ManifestRow(id=f"s{number}", slide=str(cohort.slide), mpp=MPP)


def summarize(setting: Setting, cohort: Cohort, seen: dict[str, Any], loads: tuple[Load, Load]) -> Row:
    """Rates, loads and efficiency of a run."""
    (before, after), seconds = loads, seen["seconds"]
    tasks, scheduler = after.tasks - before.tasks, after.scheduler - before.scheduler
    ideal = seen["blocks"] * setting.block_seconds / setting.workers
    return {
        "run": cohort.name,
        "workers": setting.workers,
        "slides": seen["slides"],
        "blocks": seen["blocks"],
        "seconds": seconds,
        "efficiency": ideal / seconds if ideal else None,
        "tasks": tasks,
        "tasks/s": tasks / seconds,
        "scheduler load": scheduler / seconds,
        "scheduler ms/task": 1000 * scheduler / tasks,
        "client load": seen["processor_seconds"] / seconds,
        "workers load": (after.workers - before.workers) / seconds,
        "client GB": max((size for _, size in seen["memory"]), default=0) / 1e9,
    }


@contextmanager
def start_cluster(setting: Setting, folder: Path) -> Iterator[Cluster]:
    """A scheduler, and the workers in as many processes as there are cores."""
    file, log = folder / "scheduler.json", (folder / "log").open("w")
    logged = log.fileno()
    started = [start_command(command, set_up(setting), logged, logged) for command in list_commands(setting, file)]
    try:
        while not file.exists():
            time.sleep(0.1)
        with Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(setting.workers, timeout=180)
            client.register_plugin(TaskCount())
            first, *others = (psutil.Process(process.pid) for process in started)
            yield Cluster(file, client, first, tuple(others))
    finally:
        stop(started)
        log.close()


def set_up(setting: Setting) -> dict[str, str]:
    """Variables of scheduler and workers."""
    # The profilers of many workers in one process would watch one another's threads.
    profile = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
    shared = {"DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING": "False"}  # as docs/settings.md has it
    return {**profile, **shared, SLEEP: str(setting.block_seconds / TILES), "OMP_NUM_THREADS": "1"}


def list_commands(setting: Setting, file: Path) -> list[list[str]]:
    """Of the scheduler, then of each process of workers."""
    scheduler = ("distributed.cli.dask_scheduler", "--scheduler-file", file, "--port", "0", "--no-dashboard")
    counts = share(setting.workers, min(os.cpu_count() or 1, setting.workers))
    return [own_python(*scheduler), *(own_python("benchmarks.workers", file, n, setting.steps) for n in counts)]


def share(count: int, parts: int) -> list[int]:
    """A count in parts as equal as can be."""
    return [count // parts + (part < count % parts) for part in range(parts)]


def stop(started: list[subprocess.Popen[str]]) -> None:
    """End processes, workers first."""
    for process in reversed(started):
        process.terminate()
    for process in started:
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


def read_processor(process: psutil.Process) -> float:
    """Seconds of processor of one process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()

"""Dask clusters to run on: started here, by a batch system, or there already."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, Nanny, Scheduler, SchedulerPlugin, SpecCluster

from wsiparse.errors import InputError
from wsiparse.models.devices import VISIBLE, name_visible
from wsiparse.runs.config import RunConfig
from wsiparse.runs.roles import ROLES, THREADS, check_workers, watch_roles
from wsiparse.runs.signals import leave_signals_to_parent
from wsiparse.runs.workers import count_shared, count_threads, count_workers

JOB_SYSTEMS = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}
SCHEDULER_FILE_SECONDS = 300
"""How long a scheduler that a batch system starts may take to write its file."""
NANNIES = {"distributed.deploy.lost-worker-timeout": "1000 days"}
"""Nannies start their workers again. Dask looks 15 seconds after a worker died: where it is down at that very moment,
having died once more, it closes the nanny for good, and in the end a run without workers waits for ever."""
QUIET = logging.CRITICAL
"""Dask's own threshold on clusters started here: what it says of a failed task, with a traceback, a run says itself."""


class FreeWaiting(SchedulerPlugin):
    """Lets any worker that comes take a task that was for one which is gone, where no other was left to take it.

    Dask gives a task to whoever is there when it is to begin; afterwards it waits for the worker that was named.
    """

    name = "wsiparse-free-waiting"

    async def start(self, scheduler: Scheduler) -> None:
        """Told of the scheduler that it watches."""
        self._scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *_: Any, **__: Any) -> None:
        """Told of every change of a task's state."""
        if finish == "no-worker" and (task := self._scheduler.tasks.get(key)) and task.loose_restrictions:
            task.worker_restrictions = set()


@contextmanager
def connect(config: RunConfig) -> Iterator[Client]:
    """The client of a config's cluster: local threads or processes, a batch system's jobs, or one that is there."""
    if config.cluster in JOB_SYSTEMS:
        with (
            _start_jobs(config.cluster, config.workers or 1) as cluster,
            Client(cluster) as client,
            watch_roles(client, config.cluster),
        ):
            yield client
        return
    if config.cluster != "local":
        with _reach(config.cluster) as client:
            check_workers(client, config.cluster)
            with watch_roles(client, config.cluster):
                yield client
        return
    workers, accelerators = count_workers(config), count_shared(config.device)
    with (
        dask.config.set(NANNIES),
        _start_threads() if workers == 1 else _start_processes(workers, accelerators) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(workers, timeout=120)
        yield client


def _start_jobs(system: str, workers: int) -> SpecCluster:
    """Workers as jobs of a batch system; its queue, memory and walltime come from dask-jobqueue's own configuration."""
    try:
        kind = getattr(importlib.import_module("dask_jobqueue"), JOB_SYSTEMS[system])
    except ImportError as error:
        raise InputError(f"cluster {system}: needs dask-jobqueue; pip install 'wsiparse[jobqueue]'") from error
    roles = ",".join(f"{name}={count}" for name, count in ROLES.items())
    scheduler = {"dashboard_address": ":0", **dask.config.get(f"jobqueue.{system}.scheduler-options", {})}
    arguments = {"worker_extra_args": ["--resources", roles], "scheduler_options": scheduler}
    try:
        cluster: SpecCluster = kind(cores=THREADS, processes=1, **arguments)
    except ValueError as error:
        text = " ".join(str(error).split())
        raise InputError(f"cluster {system}: {text}; set it under jobqueue.{system} in Dask's configuration") from error
    cluster.adapt(minimum=workers, maximum=workers)  # a job that ends, at its walltime too, is handed in again
    return cluster


def _reach(cluster: str) -> Client:
    """The client of a scheduler that is named by its address, or by the file that it writes when it starts."""
    by_address = "://" in cluster
    if not by_address:
        _wait_for_file(cluster)
    try:
        return Client(cluster, timeout=20) if by_address else Client(scheduler_file=cluster, timeout=20)
    except OSError as error:
        raise InputError(f"cluster {cluster}: no scheduler answers; start one with `dask scheduler`") from error


def _wait_for_file(cluster: str) -> None:
    path, is_path = Path(cluster), "/" in cluster or cluster.endswith(".json")
    end = time.monotonic() + (SCHEDULER_FILE_SECONDS if is_path else 0)  # a bare word is a misspelt name
    while path.parent.is_dir() and not path.exists() and time.monotonic() < end:
        time.sleep(0.2)
    if not path.exists():
        raise InputError(
            f"cluster {path}: no such scheduler file; expected serial, local, slurm, pbs, lsf, an address such as "
            "tcp://host:8786, or the file of `dask scheduler --scheduler-file`"
        )


def _start_threads() -> LocalCluster:
    """One process: tiles pass from thread to thread and are never copied."""
    return LocalCluster(
        processes=False,
        n_workers=1,
        threads_per_worker=THREADS,
        resources=ROLES,
        dashboard_address=":0",
        memory_limit=0,
        silence_logs=QUIET,
    )


@contextmanager
def _start_processes(workers: int, accelerators: int) -> Iterator[SpecCluster]:
    """Processes that see one of the accelerators alone, in turn; without any they share what the machine has."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        # A worker that reads a script which calls this outside of `if __name__ == "__main__":`; its parent says so.
        raise SystemExit(1)
    threads = count_threads(workers)
    options = {"nthreads": THREADS, "resources": ROLES, "memory_limit": 0, "silence_logs": QUIET}
    specs = {
        n: {"cls": Nanny, "options": {**options, "env": _worker_environment(n, accelerators, threads)}}
        for n in range(workers)
    }
    with ExitStack() as stack:
        with leave_signals_to_parent():
            cluster = stack.enter_context(_start_specified(specs))
        yield cluster


def _start_specified(workers: dict[int, Any]) -> SpecCluster:
    scheduler = {"cls": Scheduler, "options": {"dashboard_address": ":0"}}
    try:
        return SpecCluster(workers=workers, scheduler=scheduler, silence_logs=QUIET)
    except RuntimeError as error:
        found = f"{len(workers)} worker processes do not start ({error.__cause__ or error})"
        how = "in a script, put the call under `if __name__ == '__main__':`, or ask for 1 worker"
        raise InputError(f"{found}; {how}") from None  # the rest is pages of Dask's own affairs


def _worker_environment(number: int, accelerators: int, threads: int) -> dict[str, str]:
    seen = {VISIBLE: name_visible(number % accelerators)} if accelerators else {}
    return {**seen, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}

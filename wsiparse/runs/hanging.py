"""Workers that hang: told by how long one step of a block has taken them beside all others, and started anew.

Only the steps of a block are judged, for a block bounds them; a slide's plan and its end may take long for good reason.
This knows no Dask: it is handed a client, and asks the scheduler for what its workers report.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from wsiparse.runs.beside import repeat_beside

STEPS = frozenset({"load_block", "predict_block", "store_block", "derive_square"})
TIMES_MEAN = 20.0
"""A step hangs if it takes so many times the mean of its kind in this run, and the deadline too."""
LOOK_SECONDS = 10.0
RESTART_SECONDS = 20.0
"""A worker that has not come back by then is left to do so by itself."""

logger = logging.getLogger(__name__)


class Workers(Protocol):
    """What is asked of a cluster's client."""

    def run_on_scheduler(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """The function's answer, given on the scheduler."""

    def restart_workers(self, workers: list[str], *, timeout: float, raise_for_error: bool) -> Any:
        """Start workers anew; what they were at is done by others."""


@contextmanager
def watch_workers(workers: Workers, deadline: float) -> Iterator[None]:
    """Start anew what hangs for longer than `deadline` seconds, while the block lasts; 0 lets them hang."""
    if not deadline:
        yield
        return
    with repeat_beside(partial(_look, workers, deadline), min(LOOK_SECONDS, deadline / 4), RESTART_SECONDS):
        yield


def _look(workers: Workers, deadline: float) -> None:
    try:
        _restart(workers, workers.run_on_scheduler(find_hanging, deadline))
    except (OSError, RuntimeError) as error:
        # A scheduler that is lost is the run's own affair; one that only stalls is asked again.
        logger.warning("cannot look after the workers: %s", error)


def _restart(workers: Workers, hanging: Mapping[str, str]) -> None:
    for address, what in hanging.items():
        logger.warning("worker %s hangs: %s; it is started anew", address, what)
    if hanging:
        workers.restart_workers(list(hanging), timeout=RESTART_SECONDS, raise_for_error=False)


def find_hanging(deadline: float, dask_scheduler: Any = None) -> dict[str, str]:
    """What each worker that hangs is at, by its address; runs on the scheduler.

    A run's only worker is left alone unless a nanny can start it anew.
    """
    others = len(dask_scheduler.workers) > 1
    return {
        address: f"{task.prefix.name} for {seconds:.0f} s"
        for address, worker in dask_scheduler.workers.items()
        for task, seconds in worker.executing.items()
        if task.processing_on is worker and _hangs(task.prefix, seconds, deadline) and (worker.nanny or others)
    }


def _hangs(prefix: Any, seconds: float, deadline: float) -> bool:
    done = prefix.state_counts["memory"]
    if prefix.name not in STEPS or not done:
        return False
    mean = prefix.all_durations.get("compute", 0.0) / done
    return bool(seconds > max(deadline, TIMES_MEAN * mean))

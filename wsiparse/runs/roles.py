"""What workers are started for, and whether somebody's cluster has such workers: at first, and as long as a run lasts.

This knows no Dask: it is handed a client.
"""

from __future__ import annotations

import logging
import pkgutil
from collections.abc import Callable, Mapping, Set
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

from wsiparse import __version__
from wsiparse.errors import InputError
from wsiparse.runs.beside import repeat_beside

THREADS = 4
"""Threads a worker: one predicts, two read ahead, one stores."""
ROLES = {"GPU": 1, "READ": 2}
LOOK_SECONDS, LEAVE_SECONDS = 15.0, 5.0
"""Between two looks at the workers, and until one that a lost scheduler does not answer is given up."""
NOBODY = "it has no workers"

logger = logging.getLogger(__name__)


class Workers(Protocol):
    """What is asked of a cluster's client."""

    def scheduler_info(self, *, n_workers: int) -> Mapping[str, Any]:
        """What the scheduler says of itself and its workers."""

    def run(
        self, function: Callable[..., Any], /, *arguments: Any, workers: list[str] | None, on_error: Literal["return"]
    ) -> Mapping[str, Any]:
        """The answers of some workers, or of all, by their addresses."""


def check_workers(client: Workers, cluster: str) -> None:
    """Raise InputError where tasks would wait for ever, as no worker takes them, or could not be done."""
    lacking = find_lacking(list_workers(client))
    if lacking == NOBODY:
        logger.warning("cluster %s has no workers yet: waiting for one", cluster)
    elif lacking:
        roles = " ".join(f"{role}={count}" for role, count in ROLES.items())
        raise InputError(
            f"cluster {cluster}: {lacking}; "
            f'start them with `dask worker ADDRESS --nthreads {THREADS} --resources "{roles}"`'
        )
    if others := list_others(client, None):
        raise InputError(f"cluster {cluster}: {others[0]}")


def list_others(client: Workers, workers: list[str] | None) -> list[str]:
    """Which of some workers, or of all, have another version than this command; a line each, with what to do."""
    # Named in words of the standard library: what a worker does not have, it cannot be asked by.
    found = client.run(pkgutil.resolve_name, "wsiparse:__version__", workers=workers, on_error="return")
    return [
        f"its worker {worker} has {'no wsiparse' if isinstance(version, ImportError) else f'wsiparse {version}'}, this "
        f"command is {__version__}; start the workers in an environment that has the same version"
        for worker, version in found.items()
        if version != __version__ and not isinstance(version, OSError)  # of a worker that left meanwhile
    ]


def watch_roles(client: Workers, cluster: str) -> AbstractContextManager[None]:
    """Tell, while the block lasts, when no worker takes tasks of some role any more, and when one does again.

    Workers that come meanwhile are told too, where they have another version.
    """
    return repeat_beside(_Watch(client, cluster).look, LOOK_SECONDS, LEAVE_SECONDS)


def list_workers(client: Workers) -> Mapping[str, Any]:
    """What a cluster's scheduler says of each worker, by its address."""
    workers: Mapping[str, Any] = client.scheduler_info(n_workers=-1).get("workers", {})
    return workers


def find_lacking(workers: Mapping[str, Any]) -> str:
    """What a cluster of these workers has not got that a run needs; nothing where there is all."""
    if not workers:
        return NOBODY
    missing = [role for role in ROLES if not any(worker["resources"].get(role) for worker in workers.values())]
    return f"none of its {len(workers)} workers has the resource {missing[0]}" if missing else ""


class _Watch:
    """What was lacking at the last look, what was last told of it, and which workers were there."""

    def __init__(self, client: Workers, cluster: str) -> None:
        self._client, self._cluster = client, cluster
        workers = list_workers(client)
        self._before = self._told = find_lacking(workers)
        self._known: Set[str] = workers.keys()

    def look(self) -> None:
        try:
            workers = list_workers(self._client)
            lacking = find_lacking(workers)
            self._meet(workers.keys())
        except (OSError, RuntimeError):
            return  # a scheduler that is lost is the run's own affair
        # Twice, for a nanny takes some seconds to start a worker anew.
        if lacking == self._before and lacking != self._told:
            state = f"{lacking}; the run waits for one" if lacking else "it has workers again"
            logger.warning("cluster %s: %s", self._cluster, state)
            self._told = lacking
        self._before = lacking

    def _meet(self, workers: Set[str]) -> None:
        come, self._known = [*(workers - self._known)], workers
        for told in list_others(self._client, come) if come else ():
            logger.warning("cluster %s: %s", self._cluster, told)

"""Tiles answered side by side on processors, each by a single thread.

A convolution that several threads share waits for the slowest of them, and rounds otherwise than on one: what a tile
gives would follow from the number of processors. Tiles side by side do neither.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from wsiparse.models.cgroups import list_shares

MOST_LANES = 16
"""As many tiles as a block has by default; a machine of more processors is better shared by several workers."""


def count_lanes() -> int:
    """Tiles at once in this process: as many as torch was given threads, by OMP_NUM_THREADS or the processors.

    A container whose share of the processors is limited still sees them all, and so does torch.
    """
    return min(torch.get_num_threads(), *list_shares(), MOST_LANES)


@contextmanager
def limit_threads(count: int) -> Iterator[None]:
    """Have torch use so many threads meanwhile, as OMP_NUM_THREADS has a process do from its start."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def spread_tiles(function: Callable[..., Any], tiles: Sequence[Any], *arguments: Any) -> list[Any]:
    """`function` of each tile and the arguments, in the order of the tiles."""
    return list(_open_lanes(count_lanes()).map(lambda tile: function(tile, *arguments), tiles))


@functools.cache
def _open_lanes(count: int) -> ThreadPoolExecutor:
    """The process's lanes: threads for which torch uses one thread each."""
    threads = torch.get_num_threads()
    ready = threading.Barrier(count + 1)
    lanes = ThreadPoolExecutor(count, "lane", _narrow, (ready,))
    for _ in range(count):
        lanes.submit(int)
    ready.wait()
    # What a thread sets for itself is also what threads that torch meets later take.
    torch.set_num_threads(threads)
    return lanes


def _narrow(ready: threading.Barrier) -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # a thread's first question takes over what was set last, wherever: here, this
    ready.wait()

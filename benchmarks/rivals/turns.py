"""One turn of a rival that reads tiles. Needs no package, for peers import it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

Corner = tuple[int, int]
"""x and y of a tile in level-0 pixels."""


@dataclass(frozen=True)
class Turn:
    """What a rival took for the tiles of a turn."""

    seconds: float
    processor_seconds: float


def time_reads(read: Callable[[Corner], object], corners: Sequence[Corner], callers: int) -> Turn:
    """Read the first tile to settle, then time the others; so many threads call at once."""
    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(read, [corners[0]] * callers))
        clock, processor = time.perf_counter(), time.process_time()
        list(pool.map(read, corners[1:]))
        return Turn(time.perf_counter() - clock, time.process_time() - processor)

"""Which worker reads each block, so that all have as many in flight.

Left to itself Dask gives a block's reading to the worker that will be free first, and by what it knows reading takes no
time: it does not count the prediction that follows where the pixels lie. Of blocks that are submitted together a worker
with one prediction less than the others would get all, and the others would wait.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from wsiparse.runs.roles import ROLES


class Places:
    """Blocks in flight by worker."""

    def __init__(self) -> None:
        self._workers: tuple[str, ...] = ()
        self._held: Counter[str] = Counter()
        self._takers: dict[Hashable, str] = {}

    def update(self, workers: Mapping[str, Any]) -> None:
        """Take note of the workers that there are, as a scheduler tells of them by their addresses.

        No worker is chosen where there is one alone, or where some have not all roles: what is asked of a worker that
        then dies, Dask gives to any, whatever its roles.
        """
        alike = len(workers) > 1 and all(all(map(worker["resources"].get, ROLES)) for worker in workers.values())
        self._workers = tuple(workers) if alike else ()
        self._takers = {key: taker for key, taker in self._takers.items() if taker in workers}
        self._held = Counter(self._takers.values())

    def choose(self, count: int) -> list[str]:
        """A worker for each of so many blocks, those with the fewest in flight first; none where any may take them."""
        heap = [(self._held[worker], place, worker) for place, worker in enumerate(self._workers)]
        heapq.heapify(heap)
        chosen = []
        for _ in range(count if heap else 0):
            held, place, worker = heap[0]
            heapq.heapreplace(heap, (held + 1, place, worker))
            chosen.append(worker)
        return chosen

    def hold(self, keys: Sequence[Hashable], workers: Sequence[str]) -> None:
        """Blocks were given to workers."""
        self._takers.update(zip(keys, workers, strict=False))
        self._held.update(workers)

    def release(self, key: Hashable) -> None:
        """A block is no longer in flight."""
        if taker := self._takers.pop(key, None):
            self._held[taker] -= 1

"""Seconds by stage, and how long the model waited: always on, two clock readings a stage and block."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from wsiparse.geometry import Region
from wsiparse.slides.slide import Pixels, Reader, Slide

_Item = TypeVar("_Item")
Span = tuple[float, float]
"""When something began and when it ended, in seconds since 1970: the one clock that several machines share."""


@dataclass(frozen=True)
class Times:
    """What a task took; small, and it pickles."""

    seconds: Mapping[str, float]
    """Wall seconds by stage."""
    span: Span
    """The whole task; of a block, from its reading to its shard."""
    predicting: Span | None
    """When the model was at work; None where none was."""


class StageClock:
    """Adds up wall seconds under stage names; a stage inside another is taken out of it."""

    def __init__(self, before: Times | None = None) -> None:
        self.seconds = dict(before.seconds) if before else {}
        self.began = before.span[0] if before else time.time()
        self.predicting = before.predicting if before else None
        self._inner = 0.0

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        around, self._inner = self._inner, 0.0
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.add({stage: spent - self._inner})
            self._inner = around + spent

    def measure_each(self, stage: str, items: Iterable[_Item]) -> Iterator[_Item]:
        """The items, the time that each takes to come added to a stage."""
        source = iter(items)
        while True:
            with self.measure(stage):
                item = next(source, None)
            if item is None:
                return
            yield item

    @contextmanager
    def measure_model(self) -> Iterator[None]:
        """Add the time spent inside to the stage `predict`, and keep when it was."""
        start = time.time()
        with self.measure("predict"):
            yield
        self.predicting = start, time.time()

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add another clock's seconds to this one's."""
        for stage, spent in seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def stop(self) -> Times:
        """What was measured up to now."""
        return Times(self.seconds, (self.began, time.time()), self.predicting)


class TimedReader:
    """A reader whose reading and decoding counts as the stage `read`, whatever it is done for."""

    def __init__(self, reader: Reader, clock: StageClock) -> None:
        self._reader = reader
        self._clock = clock

    @property
    def slide(self) -> Slide:
        """The slide that is read."""
        return self._reader.slide

    @property
    def unreadable_pixels(self) -> int:
        """As the reader counts them."""
        return self._reader.unreadable_pixels

    def read_region(self, region: Region, level: int) -> Pixels:
        """The reader's pixels."""
        with self._clock.measure("read"):
            return self._reader.read_region(region, level)

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()


def sum_seconds(times: Iterable[Times]) -> dict[str, float]:
    """Wall seconds by stage over several tasks."""
    clock = StageClock()
    for one in times:
        clock.add(one.seconds)
    return clock.seconds


def find_model_wait(times: Sequence[Times]) -> float | None:
    """Share of the time between a slide's first and last block in which no model was at work on any of them.

    None where there was nothing to predict. Where slides follow each other without a gap, the model may have been at
    work on a neighbour meanwhile.
    """
    blocks = [(one.span, one.predicting) for one in times if one.predicting]
    if not blocks:
        return None
    start, stop = min(span[0] for span, _ in blocks), max(span[1] for span, _ in blocks)
    busy, end = 0.0, start
    for began, ended in sorted(predicting for _, predicting in blocks):
        busy += max(ended - max(began, end), 0.0)
        end = max(end, ended)
    return 1 - busy / (stop - start) if stop > start else 0.0

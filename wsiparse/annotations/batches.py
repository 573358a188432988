"""Annotations a few thousand at a time: geometry is measured and written in whole arrays, memory stays flat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from wsiparse.annotations.annotation import Annotation, RunnerUp, Shape
from wsiparse.annotations.outlines import Polygons

_BATCH = 4096
MEASURES = ("area_um2", "probability", *Shape._fields, "runner_up_probability")
"""Names of a batch's columns of numbers, in the order in which all formats give them."""
Column = NDArray[np.float64] | Sequence[float | None]
"""One number an annotation; None where it was not measured."""
_NO_SHAPE = (None,) * len(Shape._fields)


@dataclass(frozen=True)
class Batch:
    """Annotations column by column; row n of each column is the nth annotation."""

    targets: Sequence[str]
    polygons: Polygons
    measures: dict[str, Column]
    """A column for each of MEASURES."""
    runners_up: Sequence[str | None]
    on_grid: bool = False
    """Whether all polygons are known to be such as `snap_polygons` makes them."""
    ids: Sequence[str] | None = None
    """None where nobody gave any yet."""

    def __len__(self) -> int:
        return len(self.targets)

    @classmethod
    def of(cls, annotations: Sequence[Annotation]) -> Batch:
        """The same annotations, at least one, as a batch."""
        shapes: Iterator[Column] = zip(*(entry.shape or _NO_SHAPE for entry in annotations), strict=True)
        second = [annotation.runner_up for annotation in annotations]
        areas = [annotation.area_um2 for annotation in annotations]
        means = [annotation.probability for annotation in annotations]
        columns = [areas, means, *shapes, [entry.probability if entry else None for entry in second]]
        return cls(
            [annotation.target for annotation in annotations],
            np.array([annotation.polygon for annotation in annotations], object),
            dict(zip(MEASURES, columns, strict=True)),
            [entry.target if entry else None for entry in second],
        )

    def list_annotations(self) -> Iterator[Annotation]:
        """The annotations one by one."""
        areas, means, *shapes, second = (np.asarray(self.measures[name]).tolist() for name in MEASURES)
        measured = (None if row[0] is None else Shape(*row) for row in zip(*shapes, strict=True))
        pairs = zip(self.runners_up, second, strict=True)
        runners_up = (None if name is None else RunnerUp(name, probability) for name, probability in pairs)
        return map(Annotation, self.targets, self.polygons, areas, means, measured, runners_up)


def cut_batches(annotations: Iterable[Annotation]) -> Iterator[list[Annotation]]:
    """Lists of some thousand annotations in their order; the last one holds what is left and is never empty."""
    stream = iter(annotations)
    while batch := list(islice(stream, _BATCH)):
        yield batch


class BatchWriter:
    """Writes one batch in a thread, while the next one is made; see `write_batches`."""

    def __init__(self, thread: ThreadPoolExecutor, write: Callable[[Batch], None]) -> None:
        self._thread = thread
        self._write = write
        self._writing: Future[None] | None = None

    def write(self, batch: Batch) -> None:
        """Take one more batch once the one before is written; raises what befell that one."""
        self.settle()
        self._writing = self._thread.submit(self._write, batch)

    def settle(self) -> None:
        """Wait until all is written."""
        if self._writing:
            self._writing.result()


@contextmanager
def write_batches(write: Callable[[Batch], None]) -> Iterator[BatchWriter]:
    """A writer that hands its batches to `write` one after another; all is written at the end."""
    with ThreadPoolExecutor(1, "write") as thread:
        writer = BatchWriter(thread, write)
        yield writer
        writer.settle()

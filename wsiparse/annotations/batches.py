"""Annotations a few thousand at a time: geometry is measured and written in whole arrays, memory stays flat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

from wsiparse.annotations.annotation import Annotation

_BATCH = 4096


def cut_batches(annotations: Iterable[Annotation], size: int = _BATCH) -> Iterator[list[Annotation]]:
    """Lists of `size` annotations in their order; the last one holds what is left and is never empty."""
    stream = iter(annotations)
    while batch := list(islice(stream, size)):
        yield batch


class BatchWriter:
    """Collects annotations and writes batch by batch in a thread, while the next batch is made; see `write_batches`."""

    def __init__(self, thread: ThreadPoolExecutor, write: Callable[[list[Annotation]], None], size: int) -> None:
        self._thread = thread
        self._write = write
        self._size = size
        self._waiting: list[Annotation] = []
        self._writing: Future[None] | None = None

    def write(self, annotation: Annotation) -> None:
        """Take one more annotation; raises what befell the batch before, at the latest with the next one."""
        self._waiting.append(annotation)
        if len(self._waiting) == self._size:
            self._flush()

    def close(self) -> None:
        """Write what waits, and wait until all is written."""
        if self._waiting:
            self._flush()
        self._settle()

    def _flush(self) -> None:
        self._settle()  # one batch at a time, in order
        self._writing = self._thread.submit(self._write, self._waiting)
        self._waiting = []

    def _settle(self) -> None:
        if self._writing:
            self._writing.result()


@contextmanager
def write_batches(write: Callable[[list[Annotation]], None], size: int = _BATCH) -> Iterator[BatchWriter]:
    """A writer that hands lists of `size` annotations, the last one shorter, to `write`; all is written at the end."""
    with ThreadPoolExecutor(1, "write") as thread:
        writer = BatchWriter(thread, write, size)
        yield writer
        writer.close()

"""Annotations a few thousand at a time: geometry is measured and written in whole arrays, memory stays flat."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from wsiparse.annotations.annotation import Annotation

_BATCH = 4096


def cut_batches(annotations: Iterable[Annotation], size: int = _BATCH) -> Iterator[list[Annotation]]:
    """Lists of `size` annotations in their order; the last one holds what is left and is never empty."""
    stream = iter(annotations)
    while batch := list(islice(stream, size)):
        yield batch

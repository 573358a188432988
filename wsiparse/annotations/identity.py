"""Ids of annotations: the same object has the same id in every run and every format."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha1

import numpy as np
import shapely
from numpy.typing import NDArray

from wsiparse.annotations.batches import Batch

_NAMESPACE = uuid.UUID("6f0e3a52-7d1c-5b8e-9c47-2a6f4d0b81e3").bytes
_Shorts = NDArray[np.uint64]


class Identities:
    """UUIDs (version 5) from slide, target and outline; unique within the file for which this object was made."""

    def __init__(self, slide_id: str) -> None:
        self._slide_id = slide_id
        self._seen = _Seen()
        self._copies: Counter[bytes] = Counter()

    def assign(self, batch: Batch) -> list[str]:
        """Ids in the order of the annotations; where an outline comes again under its target, its number tells it."""
        outlines = shapely.to_wkb(shapely.normalize(batch.polygons))
        heads = {target: f"{self._slide_id}\n{target}\n".encode() for target in set(batch.targets)}
        names = [heads[target] + outline for target, outline in zip(batch.targets, outlines, strict=True)]
        digests = [sha1(_NAMESPACE + name).digest() for name in names]
        for place in self._seen.add(_shorten(digests)).tolist():
            digest = digests[place]
            self._copies[digest] += 1
            digests[place] = sha1(_NAMESPACE + names[place] + b"\n%d" % self._copies[digest]).digest()
        return _format_uuids(digests)


class _Seen:
    """Numbers that came before: sorted arrays, each over twice as long as the next. A set takes ten times the room."""

    def __init__(self) -> None:
        self._parts: list[_Shorts] = []

    def add(self, numbers: _Shorts) -> NDArray[np.int64]:
        """Places of those that came before, here or in an earlier call; all of them are remembered."""
        new, first = np.unique(numbers, return_index=True)
        again = np.full(len(numbers), True)
        again[first] = False
        for part in self._parts:
            nearest = np.minimum(np.searchsorted(part, numbers), len(part) - 1)
            again |= part[nearest] == numbers
        self._remember(new)
        return np.flatnonzero(again)

    def _remember(self, numbers: _Shorts) -> None:
        while self._parts and len(self._parts[-1]) <= 2 * len(numbers):
            numbers = np.union1d(self._parts.pop(), numbers)
        self._parts.append(numbers)


def _shorten(digests: Sequence[bytes]) -> _Shorts:
    # Once in thirty million files do two of a million objects share eight bytes; one of them is then named as a copy.
    return np.frombuffer(b"".join(digest[:8] for digest in digests), np.uint64)


def identify(batches: Iterable[Batch], slide_id: str) -> Iterator[Batch]:
    """The batches of one slide with their ids, so that several formats need not find them again."""
    identities = Identities(slide_id)
    return (replace(batch, ids=identities.assign(batch)) for batch in batches)


def _format_uuids(digests: Iterable[bytes]) -> list[str]:
    # As uuid.UUID(bytes=…, version=5) writes them, at a tenth of the time.
    numbers = np.frombuffer(b"".join(digest[:16] for digest in digests), np.uint8).reshape(-1, 16).copy()
    numbers[:, 6] = numbers[:, 6] & 0x0F | 0x50
    numbers[:, 8] = numbers[:, 8] & 0x3F | 0x80
    text = numbers.tobytes().hex()
    parts = (text[place : place + 32] for place in range(0, len(text), 32))
    return [f"{part[:8]}-{part[8:12]}-{part[12:16]}-{part[16:20]}-{part[20:]}" for part in parts]

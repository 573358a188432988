"""Ids of annotations: the same object has the same id in every run and every format."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence

import numpy as np
import shapely

from wsiparse.annotations.annotation import Annotation

_NAMESPACE = uuid.UUID("6f0e3a52-7d1c-5b8e-9c47-2a6f4d0b81e3")


class Identities:
    """UUIDs (version 5) from slide, target and outline; unique within the file for which this object was made."""

    def __init__(self, slide_id: str) -> None:
        self._slide_id = slide_id
        self._copies: Counter[int] = Counter()

    def assign(self, annotations: Sequence[Annotation]) -> list[str]:
        """Ids in the order of the annotations; where an outline comes again under its target, its number tells it."""
        polygons = np.array([annotation.polygon for annotation in annotations], object)
        keys = shapely.to_wkb(shapely.normalize(polygons))
        return [self._assign(annotation.target, key) for annotation, key in zip(annotations, keys, strict=True)]

    def _assign(self, target: str, key: bytes) -> str:
        name = f"{self._slide_id}\n{target}\n{key.hex()}"
        first = uuid.uuid5(_NAMESPACE, name)
        copies = self._copies[first.int]
        self._copies[first.int] += 1
        return str(uuid.uuid5(_NAMESPACE, f"{name}\n{copies}") if copies else first)

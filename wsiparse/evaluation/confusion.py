"""Which target of a group is taken for which other: pixels by what the reference says and what was predicted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.unsignedinteger[Any]]
"""Places of targets in their group from 1 [h, w]; 0 is none of them."""


@dataclass(frozen=True, eq=False)
class Confusion:
    """Pixels of one group of targets: of a block, a slide or a cohort, the same type."""

    targets: tuple[str, ...]
    pixels: NDArray[np.int64]
    """Rows are the reference, columns the prediction [targets + 1, targets + 1]; the first is none of the targets."""

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.targets, self.pixels + other.pixels)

    @property
    def annotated(self) -> int:
        """Targets of which the reference has a pixel."""
        return int(np.count_nonzero(self.pixels[1:].sum(axis=1)))


class DrawnCodes:
    """What the reference says of a region, gathered target by target; where two overlap it says nothing."""

    def __init__(self, compared: NDArray[np.bool_]) -> None:
        """Take the pixels that are compared [h, w]."""
        self._said = compared.copy()
        self._codes = np.zeros(compared.shape, np.uint16)

    def add(self, code: int, drawn: NDArray[np.bool_]) -> None:
        """Take what the reference draws of the target with this code."""
        self._said &= ~(drawn & (self._codes > 0))
        self._codes[drawn] = code

    def count(self, predicted: Codes, targets: Sequence[str]) -> Confusion:
        """The pixels of each pair of reference and prediction."""
        size = len(targets) + 1
        pairs = self._codes[self._said].astype(np.int64) * size + predicted[self._said]
        return Confusion(tuple(targets), np.bincount(pairs, minlength=size**2).reshape(size, size))


def pool_confusions(confusions: Iterable[Confusion]) -> list[Confusion]:
    """The confusion of each group over all slides, where at least two of its targets were annotated."""
    sums: dict[tuple[str, ...], Confusion] = {}
    for confusion in confusions:
        known = sums.get(confusion.targets)
        sums[confusion.targets] = known + confusion if known else confusion
    return [confusion for confusion in sums.values() if confusion.annotated > 1]

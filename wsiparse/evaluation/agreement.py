"""How far several readers of the same slide agree: the bar that a model is measured against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Agreement:
    """Pixels that readers share, two by two: of a block, a slide or a cohort, the same type."""

    shared: NDArray[np.int64]
    """Pixels that both of two readers hold [readers, readers]; on the diagonal, those of each."""

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(self.shared + other.shared)

    @property
    def dice(self) -> NDArray[np.float64]:
        """Dice of every two readers [readers, readers]; nan where neither holds a pixel."""
        sizes = np.diagonal(self.shared)
        sums = sizes[:, None] + sizes[None, :]
        return np.asarray(np.divide(2 * self.shared, sums, out=np.full(sums.shape, np.nan), where=sums > 0))

    @property
    def mean_dice(self) -> float:
        """Mean over the pairs of different readers; nan without a pair that has a Dice."""
        values = self.dice[np.triu_indices(len(self.shared), 1)]
        values = values[np.isfinite(values)]
        return float(values.mean()) if len(values) else math.nan

    def compare_reader(self, reader: int) -> float:
        """Mean Dice of one reader, such as a model among pathologists, with all others; nan where it has none."""
        values = np.delete(self.dice[reader], reader)
        values = values[np.isfinite(values)]
        return float(values.mean()) if len(values) else math.nan


def count_agreement(masks: Sequence[NDArray[np.bool_]]) -> Agreement:
    """Count the pixels of a block that each two of at least one reader's masks [height, width] share."""
    shared = np.zeros((len(masks), len(masks)), np.int64)
    for row, column in combinations_with_replacement(range(len(masks)), 2):
        shared[row, column] = shared[column, row] = np.count_nonzero(masks[row] & masks[column])
    return Agreement(shared)

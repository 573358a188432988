"""Which targets are there at all: recognition as BiomedParse does it when asked for everything.

Two ways: the paper's, and that of the published code, which differs from it in all constants, never drops the most
confident target, and first drops masks that lie within better ones. Whatever is counted adds up over the blocks of a
slide, so that a slide is judged as a whole. Values [K, h, w] are stored ones: p = value / 255.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsiparse.maps.recognition import recognize

Values = NDArray[Any]
Overlaps = NDArray[np.int64]
"""Pixels that two masks share [K, K]; on the diagonal their areas."""


@dataclass(frozen=True)
class Rule:
    """When a target counts as present."""

    floor: float
    """A pixel speaks for a target where its probability is above this."""
    share: float
    """Of its pixels a target must win at least this share against the others."""
    strict: bool
    """True where it must win more than that share."""
    keep_best: bool
    """True where the most confident target is kept whatever it wins."""
    suppress: bool
    """True where masks that lie within more plausible ones are dropped first."""


PAPER = Rule(floor=0.5, share=0.5, strict=True, keep_best=False, suppress=False)
"""The paper leaves the share, its λ, to the user; here it is the code's."""
CODE = Rule(floor=0.1, share=0.5, strict=False, keep_best=True, suppress=True)


@dataclass(frozen=True)
class Support:
    """What speaks for K targets; supports of several regions add up."""

    area: NDArray[np.int64]
    """Pixels above the floor [K]."""
    won: NDArray[np.int64]
    """Those of them where no other target is more probable [K]."""
    mass: NDArray[np.float64]
    """Sum of the values above the floor [K]."""

    def __add__(self, other: Support) -> Support:
        return Support(self.area + other.area, self.won + other.won, self.mass + other.mass)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean value above the floor [K]; 0 where there is none."""
        return np.divide(self.mass, self.area, out=np.zeros_like(self.mass), where=self.area > 0)


def cut_above(probability: float) -> int:
    """The smallest stored value above a probability: 128 for 0.5."""
    return math.floor(255 * probability + 1e-9) + 1


MASK = cut_above(0.5)
"""A pixel is in a target's mask from here on, in both ways."""


def measure_support(values: Values, cut: float) -> Support:
    """Support of values [K, h, w] that reach a cut; where two are equal the earlier target wins."""
    count = len(values)
    won = np.bincount(recognize(values, [cut] * count).ravel(), minlength=count + 1)[1:]
    inside = values >= cut
    mass = np.where(inside, values, 0).sum((1, 2), dtype=np.float64)
    return Support(np.count_nonzero(inside, axis=(1, 2)).astype(np.int64), won.astype(np.int64), mass)


def add_support(blocks: Iterable[Values], count: int, cut: float) -> Support:
    """Support of `count` targets over all blocks; none where there is no block."""
    nothing = Support(np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count))
    return sum((measure_support(values, cut) for values in blocks), nothing)


def count_overlaps(values: Values, cut: float) -> Overlaps:
    """Pixels of values [K, h, w] at which two targets both reach a cut, and the areas of each; they add up."""
    masks = values >= cut
    counts = np.zeros((len(masks), len(masks)), np.int64)
    for i, j in combinations_with_replacement(range(len(masks)), 2):
        counts[i, j] = counts[j, i] = np.count_nonzero(masks[i] & masks[j])
    return counts


def select_targets(support: Support, rule: Rule) -> list[int]:
    """Which targets are present."""
    needed = rule.share * support.area
    present = support.won > needed if rule.strict else support.won >= needed
    if rule.keep_best and len(present):
        present[support.mean.argmax()] = True
    return [int(k) for k in np.flatnonzero(present)]


def suppress_overlaps(overlaps: Overlaps, plausibility: Sequence[float]) -> list[int]:
    """Targets whose masks do not lie within better ones, the most plausible first.

    A mask goes where more than half of it is covered by one kept mask that is more plausible; empty masks go too.
    """
    kept: list[int] = []
    for k in sorted(range(len(overlaps)), key=lambda k: -plausibility[k]):
        area = overlaps[k, k]
        if area and not any(overlaps[k, other] > 0.5 * area for other in kept):
            kept.append(k)
    return kept


def select_present(read: Callable[[], Iterable[Values]], rule: Rule, plausibility: Sequence[float]) -> list[int]:
    """Which targets are present on a slide whose blocks `read` gives, as often as it is called.

    `plausibility` has one number for each target: the p-value of its masks. It matters where the rule suppresses.
    """
    kept = list(range(len(plausibility)))
    if rule.suppress:
        nothing = np.zeros((len(kept), len(kept)), np.int64)
        kept = sorted(suppress_overlaps(sum((count_overlaps(v, MASK) for v in read()), nothing), plausibility))
    support = add_support((values[kept] for values in read()), len(kept), cut_above(rule.floor))
    return [kept[i] for i in select_targets(support, rule)]

"""Which targets are in an image, and whose each pixel is: recognition as BiomedParse does it when asked for everything.

Two ways: the paper's, and that of the published code, which differs from it in all constants, never drops the most
confident target, and first drops masks that lie within better ones. Support adds up over the blocks of a slide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatMaps = NDArray[np.floating[Any]]


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


PAPER = Rule(floor=0.5, share=0.5, strict=True, keep_best=False)
"""The paper leaves the share to the user; here it is the code's."""
CODE = Rule(floor=0.1, share=0.5, strict=False, keep_best=True)


@dataclass(frozen=True)
class Support:
    """What speaks for K targets; supports of several regions add up."""

    area: NDArray[np.int64]
    """Pixels above the floor [K]."""
    won: NDArray[np.int64]
    """Those of them where no other target is more probable [K]."""
    mass: NDArray[np.float64]
    """Sum of the probabilities above the floor [K]."""

    def __add__(self, other: Support) -> Support:
        return Support(self.area + other.area, self.won + other.won, self.mass + other.mass)


def measure_support(probabilities: FloatMaps, floor: float) -> Support:
    """Support of probabilities [K, h, w] in 0..1; where two are equal the earlier target wins."""
    above = probabilities > floor
    best = probabilities.argmax(0)[None] == np.arange(len(probabilities))[:, None, None]  # [K, h, w]
    mass = np.where(above, probabilities, 0).sum((1, 2), dtype=np.float64)
    return Support(above.sum((1, 2)), (above & best).sum((1, 2)), mass)


def select_targets(support: Support, rule: Rule) -> list[int]:
    """Which targets are present."""
    needed = rule.share * support.area
    present = support.won > needed if rule.strict else support.won >= needed
    if rule.keep_best and len(present):
        mean = np.divide(support.mass, support.area, out=np.zeros_like(support.mass), where=support.area > 0)
        present[mean.argmax()] = True
    return [int(k) for k in np.flatnonzero(present)]


def suppress_overlaps(probabilities: FloatMaps, p_values: Sequence[float], overlap: float = 0.5) -> list[int]:
    """Targets whose masks p > 0.5 do not lie within better ones, the most plausible first.

    A mask goes where more than `overlap` of it is covered by one kept mask of higher p-value; empty masks go too.
    """
    masks = probabilities > 0.5
    kept: list[int] = []
    for k in sorted(range(len(masks)), key=lambda k: -p_values[k]):
        area = masks[k].sum()
        if area and not any((masks[k] & masks[other]).sum() > overlap * area for other in kept):
            kept.append(k)
    return kept


def combine_masks(probabilities: FloatMaps, targets: Sequence[int]) -> NDArray[np.int64]:
    """Codes [h, w]: the most probable of the targets where its p is above 0.5, else 0.

    Code n is the n-th of the probabilities [K, h, w]; where two are equal the target that is named first wins.
    """
    codes = np.zeros(probabilities.shape[1:], np.int64)
    if not targets:
        return codes
    chosen = probabilities[list(targets)]
    return np.where(chosen.max(0) > 0.5, np.asarray(targets)[chosen.argmax(0)] + 1, codes)


def recognize_as_code(probabilities: FloatMaps, p_values: Sequence[float]) -> NDArray[np.int64]:
    """Codes [h, w] as the published code finds them: suppression, selection, aggregation."""
    kept = suppress_overlaps(probabilities, p_values)
    present = select_targets(measure_support(probabilities[kept], CODE.floor), CODE) if kept else []
    return combine_masks(probabilities, [kept[i] for i in present])


def recognize_as_paper(probabilities: FloatMaps) -> NDArray[np.int64]:
    """Codes [h, w] as the paper describes it: selection and aggregation."""
    return combine_masks(probabilities, select_targets(measure_support(probabilities, PAPER.floor), PAPER))

"""Objects of instance targets, whole across block borders and counted once.

The block that holds an object's centre owns it and traces all of it, from a window that shows every pixel which can
have a say. What no centre reaches, and targets that are regions, stay in pieces to be joined at the borders as
`trace_block` leaves them: so is an object larger than `Splitting.reach_um`, whose part beyond the reach becomes an
object of its own. Nothing depends on where the borders of blocks lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from wsiparse.annotations.flood import Objects
from wsiparse.annotations.measures import sum_scores
from wsiparse.annotations.numbering import LabelMap
from wsiparse.annotations.pieces import NO_RUNS, Pieces, Tally, concatenate_pieces
from wsiparse.annotations.polygons import trace_block
from wsiparse.annotations.splitting import Splitting, find_objects
from wsiparse.annotations.tracing import trace_objects
from wsiparse.compiled import compile_loop
from wsiparse.errors import PlanError
from wsiparse.geometry import Region
from wsiparse.ontology import Target

Scores = NDArray[np.uint8]
"""Probabilities of a group's targets in 0..255 [targets, height, width]."""


@dataclass(frozen=True)
class InstanceTracing:
    """How a group is traced: the codes whose objects are told apart, on a canvas of `mpp`."""

    codes: tuple[int, ...]
    mpp: float
    splitting: Splitting = field(default_factory=Splitting)

    @classmethod
    def of_targets(cls, targets: Sequence[Target], mpp: float, splitting: Splitting | None = None) -> InstanceTracing:
        """The tracing of a group's targets, in the order of their codes."""
        codes = tuple(code for code, target in enumerate(targets, start=1) if target.instances)
        return cls(codes, mpp, splitting or Splitting())

    @property
    def halo(self) -> int:
        """Canvas pixels around a block that must be read with it; 0 where the group has no instance target."""
        return self.splitting.find_halo(self.mpp) if self.codes else 0


def trace_instance_block(labels: LabelMap, scores: Scores, region: Region, tracing: InstanceTracing) -> Pieces:
    """Whole objects whose centres lie in a block's region, and the pieces of whatever else lies there.

    `labels` [height, width] and `scores` [targets, height, width] show `region` grown by `tracing.halo`; PlanError if
    they do not.
    """
    window = region.grow(tracing.halo)
    if labels.shape != (window.height, window.width):
        raise PlanError(
            f"labels of {labels.shape} pixels, expected ({window.height}, {window.width}); read the halo too"
        )
    if not tracing.codes:
        return trace_block(labels, scores, region)
    inside = region.shift(-window.x, -window.y)
    owned, codes, rest = _find_owned(labels, scores, inside, tracing)
    whole, rest = _trace_whole(owned, codes, scores, window), rest[inside.slices]
    if not rest.any():
        return replace(whole, region=region)
    return concatenate_pieces([whole, trace_block(rest, scores[:, *inside.slices], region)])


def _find_owned(
    labels: LabelMap, scores: Scores, inside: Region, tracing: InstanceTracing
) -> tuple[Objects, Tally, LabelMap]:
    """Objects whose centres lie `inside`, the target of each, and the labels less all objects, owned or not."""
    owned, rest = np.zeros(labels.shape, np.int32), labels.copy()
    codes: list[int] = []
    for code in tracing.codes:
        mask = labels == code
        if not mask.any():
            continue
        ids, centers = find_objects(mask, scores[code - 1], tracing.mpp, tracing.splitting)
        kept = _contains(inside, *centers.T)
        _move_objects(ids, np.where(kept, len(codes) + np.cumsum(kept), 0), owned, rest)
        codes += [code] * int(kept.sum())
    return owned, np.array(codes, np.int64), rest


@compile_loop
def _move_objects(ids: Objects, numbers: Tally, owned: Objects, rest: LabelMap) -> None:
    """Take objects out of labels and put them down under other numbers, 0 for those that no one owns."""
    for y in range(len(ids)):
        row = ids[y]
        for x in range(len(row)):
            if row[x] > 0:
                owned[y, x], rest[y, x] = numbers[row[x] - 1], 0


def _contains(region: Region, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (rows >= region.y) & (rows < region.bottom) & (columns >= region.x) & (columns < region.right)


def _trace_whole(owned: Objects, codes: Tally, scores: Scores, window: Region) -> Pieces:
    outlines = trace_objects(owned).shift(window.x, window.y)
    return Pieces(window, outlines, codes, outlines.measure_areas(), sum_scores(owned, scores, len(codes)), NO_RUNS)

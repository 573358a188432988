"""Traced objects of one block, whole or cut by its border: what travels from tracing to joining."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsiparse.annotations.outlines import Outlines
from wsiparse.geometry import Region

Tally = NDArray[np.int64]
"""One integer a piece [pieces]."""
Runs = NDArray[np.int64]
"""Stretches of one piece along a block's border [runs, 6]: beyond, axis, line, start, stop, piece.

`beyond` is 1 where the piece lies right of or below the line and 0 where it lies before it; `axis` is 0 for vertical
lines; line, start and stop are canvas pixels.
"""


@dataclass(frozen=True)
class Pieces:
    """The objects of one block in canvas pixels: small, picklable, and all that joining needs."""

    region: Region
    """Canvas pixels of the block."""
    outlines: Outlines
    """Exact outlines along pixel edges."""
    codes: Tally
    """Target of each piece: k is the k-th of the group."""
    pixels: Tally
    """Pixels of each piece."""
    scores: Tally | None
    """Sum of each piece's probabilities in 0..255, where they were given."""
    runs: Runs
    """Where pieces touch the block's border."""

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, indices: Tally) -> Pieces:
        """The pieces at these places, in this order; where they touched the border is forgotten."""
        scores = None if self.scores is None else self.scores[indices]
        outlines = self.outlines.take(indices)
        return Pieces(self.region, outlines, self.codes[indices], self.pixels[indices], scores, self.runs[:0])


def gather_pieces(blocks: Sequence[Pieces], places: Tally) -> Pieces:
    """Pieces from several blocks, by their place in the row of all blocks' pieces; runs are left out."""
    starts = np.cumsum([0, *(len(block) for block in blocks)])
    owners = np.searchsorted(starts, places, side="right") - 1
    parts = [blocks[n].take(places[owners == n] - starts[n]) for n in np.unique(owners)]
    back = np.empty(len(places), np.int64)
    back[np.argsort(owners, kind="stable")] = np.arange(len(places))
    return _concatenate(parts).take(back)


def _concatenate(parts: Sequence[Pieces]) -> Pieces:
    sums = [part.scores for part in parts if part.scores is not None]
    return Pieces(
        parts[0].region,
        Outlines.concatenate([part.outlines for part in parts]),
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.pixels for part in parts]),
        np.concatenate(sums) if len(sums) == len(parts) else None,
        parts[0].runs[:0],
    )

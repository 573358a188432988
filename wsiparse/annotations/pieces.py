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
Sums = NDArray[np.int64]
"""Each piece's sum of the probabilities of all targets of its group, in 0..255 a pixel [pieces, targets]."""
Runs = NDArray[np.int64]
"""Stretches of one piece along a block's border [runs, 6]: beyond, axis, line, start, stop, piece.

`beyond` is 1 where the piece lies right of or below the line and 0 where it lies before it; `axis` is 0 for vertical
lines; line, start and stop are canvas pixels.
"""
NO_RUNS: Runs = np.empty((0, 6), np.int64)


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
    scores: Sums | None
    """What the probabilities inside sum to, where they were given."""
    runs: Runs
    """Where pieces touch the block's border."""

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, indices: Tally) -> Pieces:
        """The pieces at these places, in this order."""
        scores = None if self.scores is None else self.scores[indices]
        places = np.full(len(self), -1)
        places[indices] = np.arange(len(indices))
        runs = self.runs.copy()
        runs[:, 5] = places[runs[:, 5]]
        outlines = self.outlines.take(indices)
        return Pieces(self.region, outlines, self.codes[indices], self.pixels[indices], scores, runs[runs[:, 5] >= 0])


def concatenate_pieces(parts: Sequence[Pieces]) -> Pieces:
    """The pieces of all parts, one part after another; the region is that of the last part."""
    sums = [part.scores for part in parts if part.scores is not None]
    runs = np.concatenate([part.runs for part in parts])
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    runs[:, 5] += np.repeat(starts, [len(part.runs) for part in parts])
    return Pieces(
        parts[-1].region,
        Outlines.concatenate([part.outlines for part in parts]),
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.pixels for part in parts]),
        np.concatenate(sums) if len(sums) == len(parts) else None,
        runs,
    )

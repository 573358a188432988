"""Borders between blocks: which pieces of objects meet there, and the whole objects they make."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from wsiparse.annotations.outlines import Outlines
from wsiparse.annotations.pieces import Pieces, Runs, Tally, gather_pieces
from wsiparse.geometry import Region


def find_runs(objects: NDArray[np.int32], region: Region) -> Runs:
    """The stretches of each object of a block along its four sides; object n of the raster is piece n - 1."""
    sides = (
        (1, 0, region.x, region.y, objects[:, 0]),
        (0, 0, region.right, region.y, objects[:, -1]),
        (1, 1, region.y, region.x, objects[0]),
        (0, 1, region.bottom, region.x, objects[-1]),
    )
    return np.concatenate([_find_side_runs(*side) for side in sides])


def _find_side_runs(beyond: int, axis: int, line: int, origin: int, ids: NDArray[np.int32]) -> Runs:
    changes = np.flatnonzero(np.diff(ids)) + 1
    starts, stops = np.append(0, changes), np.append(changes, len(ids))
    pieces = ids[starts].astype(np.int64) - 1
    fixed = (np.full(len(pieces), value, np.int64) for value in (beyond, axis, line))
    runs = np.column_stack([*fixed, starts + origin, stops + origin, pieces])
    return np.asarray(runs[pieces >= 0])


def match_runs(runs: Runs) -> NDArray[np.int64]:
    """Pairs of pieces that share at least one pixel edge of a border [pairs, 2]."""
    beyond = runs[:, 0] == 1
    left, right = runs[~beyond], runs[beyond]
    right = right[np.argsort(_position(right, 3))]
    first = np.searchsorted(_position(right, 4), _position(left, 3), side="right")
    last = np.searchsorted(_position(right, 3), _position(left, 4), side="left")
    counts = np.maximum(last - first, 0)
    skipped = np.cumsum(counts) - counts
    partners = np.arange(counts.sum()) + np.repeat(first - skipped, counts)
    return np.column_stack([np.repeat(left[:, 5], counts), right[partners, 5]])


def _position(runs: Runs, column: int) -> NDArray[np.int64]:
    # One number a border pixel, ordered along each line, so that one binary search serves all lines at once.
    return (runs[:, 1] << 62) + (runs[:, 2] << 31) + runs[:, column]


def _group(pairs: NDArray[np.int64]) -> tuple[Tally, Tally]:
    """Pieces that pairs chain together, one group after another, and where each group begins."""
    pieces, places = np.unique(pairs, return_inverse=True)
    ends = places.reshape(pairs.shape)
    graph = coo_array((np.ones(len(pairs), bool), (ends[:, 0], ends[:, 1])), shape=(len(pieces), len(pieces)))
    _, groups = connected_components(graph, directed=False)
    order = np.argsort(groups, kind="stable")
    return pieces[order], np.flatnonzero(np.diff(groups[order], prepend=-1))


def join_seams(blocks: Sequence[Pieces]) -> tuple[Pieces | None, Tally]:
    """Objects cut by block borders made whole, and the places of their pieces in the row of all blocks' pieces.

    Pieces of one target that share a pixel edge belong together; those that meet at a corner alone do not.
    """
    pairs = match_runs(_gather_runs(blocks))
    codes = np.concatenate([block.codes for block in blocks])
    pairs = pairs[codes[pairs[:, 0]] == codes[pairs[:, 1]]]
    if len(pairs) == 0:
        return None, pairs[:, 0]
    members, starts = _group(pairs)
    return _unite(gather_pieces(blocks, members), starts), members


def _gather_runs(blocks: Sequence[Pieces]) -> Runs:
    runs = np.concatenate([block.runs for block in blocks])
    starts = np.cumsum([0, *(len(block) for block in blocks[:-1])])
    runs[:, 5] += np.repeat(starts, [len(block.runs) for block in blocks])
    return runs


def _unite(pieces: Pieces, starts: Tally) -> Pieces:
    polygons = pieces.outlines.to_shapely()
    united = np.array([shapely.union_all(part) for part in np.split(polygons, starts[1:])], object)
    outlines = Outlines.from_shapely(united).drop_straight_corners()
    scores = None if pieces.scores is None else np.add.reduceat(pieces.scores, starts)
    pixels = np.add.reduceat(pieces.pixels, starts)
    return Pieces(pieces.region, outlines, pieces.codes[starts], pixels, scores, pieces.runs)

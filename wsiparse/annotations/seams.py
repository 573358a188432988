"""Borders between blocks: which pieces of objects meet there, and the whole objects they make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from wsiparse.annotations.edges import cancel_edges, cut_edges, link_edges
from wsiparse.annotations.outlines import Outlines, take_parts
from wsiparse.annotations.pieces import NO_RUNS, Pieces, Runs, Tally, concatenate_pieces
from wsiparse.errors import PlanError
from wsiparse.geometry import Region

_END = 1 << 31
"""A row below every canvas."""


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


def join_rows(blocks: Iterable[Pieces]) -> Iterator[Pieces]:
    """Whole objects in the order of their last pixels, as soon as no block to come can touch or precede them.

    Pieces of one target that share a pixel edge belong together; those that meet at a corner alone do not. Raises
    PlanError for a block that comes after one whose top lies below its own.
    """
    parts: list[Pieces] = []
    for block in blocks:
        top = parts[-1].region.y if parts else block.region.y
        if block.region.y < top:
            raise PlanError(f"a block at row {block.region.y} after one at row {top}; expected blocks row by row")
        if block.region.y > top:
            done, waiting = _settle(_drain(parts), block.region.y)
            parts = [waiting]
            yield done
            del done  # a row is tens of megabytes, and the next one is about to be made
        parts.append(block)
    if parts:
        yield _settle(_drain(parts), _END)[0]


def _drain(parts: list[Pieces]) -> Pieces:
    pieces = concatenate_pieces(parts)
    parts.clear()  # or they would stay beside their copy until the row is settled
    return pieces


def _settle(pieces: Pieces, frontier: int) -> tuple[Pieces, Pieces]:
    """The objects that blocks from row `frontier` on neither touch nor precede, and the pieces of all others."""
    order, starts = _group(pieces)
    last = pieces.outlines.find_last_pixels()[order]
    last = np.maximum.reduceat(last, starts) if len(last) else last
    done = (last >> 32) < frontier - 1
    touched = np.zeros(len(pieces), bool)
    touched[_find_open(pieces.runs, frontier)] = True
    done &= ~np.logical_or.reduceat(touched[order], starts) if len(order) else done
    sorted_done = np.flatnonzero(done)[np.argsort(last[done])]
    members, ends = take_parts(np.append(starts, len(order)), sorted_done)
    waiting = order[np.repeat(~done, np.diff(starts, append=len(order)))]
    return _unite(pieces, order[members], np.diff(ends)), pieces.take(np.sort(waiting))


def _find_open(runs: Runs, frontier: int) -> Tally:
    """Pieces with a stretch of border that a block may yet touch."""
    across = runs[:, 1] == 1
    return np.asarray(runs[np.where(across, runs[:, 2] >= frontier, runs[:, 4] > frontier), 5])


def _group(pieces: Pieces) -> tuple[Tally, Tally]:
    """Pieces object by object, and where each object begins among them."""
    first, second = match_runs(pieces.runs).T
    same = pieces.codes[first] == pieces.codes[second]
    pairs = coo_array((same[same], (first[same], second[same])), shape=(len(pieces), len(pieces)))
    _, groups = connected_components(pairs, directed=False)
    order = np.argsort(groups, kind="stable")
    return order, np.flatnonzero(np.diff(groups[order], prepend=-1))


def _unite(pieces: Pieces, members: Tally, sizes: Tally) -> Pieces:
    """Objects of some pieces, from the places of each one's pieces, `sizes` of them a time."""
    if not len(sizes):
        return pieces.take(sizes)
    starts, outlines = np.cumsum(sizes) - sizes, pieces.outlines
    chosen, cut = members[starts], sizes > 1
    if cut.any():
        # All outlines in one array, and taken from it once: a row of them is tens of megabytes.
        rows, columns = cut_edges(outlines.take(members[np.repeat(cut, sizes)]), _number(sizes[cut]))
        united = link_edges(cancel_edges(rows), cancel_edges(columns), int(cut.sum()))
        outlines = Outlines.concatenate([outlines, united])
        chosen = np.where(cut, len(pieces) + np.cumsum(cut) - 1, chosen)
    scores = None if pieces.scores is None else np.add.reduceat(pieces.scores[members], starts)
    pixels = np.add.reduceat(pieces.pixels[members], starts)
    return Pieces(pieces.region, outlines.take(chosen), pieces.codes[members[starts]], pixels, scores, NO_RUNS)


def _number(sizes: Tally) -> Tally:
    return np.repeat(np.arange(len(sizes)), sizes)

"""Edges of pixel outlines as flat arrays: chained to rings, or what is left of them where objects meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsiparse.annotations.outlines import Outlines

Numbers = NDArray[np.int64]
"""One integer an edge or a ring."""


@dataclass(frozen=True)
class Edges:
    """Edges of objects from corner to corner, all horizontal or all vertical, each with its object to the right.

    Seen with y down: along the top of an object an edge goes right, along its right side down.
    """

    owners: Numbers
    """Object of each edge, counted from 0."""
    lines: Numbers
    """y of horizontal edges, x of vertical ones."""
    starts: Numbers
    """Where the edge begins along its line."""
    stops: Numbers
    """Where it ends."""

    @property
    def forward(self) -> NDArray[np.bool_]:
        """Which edges go right or down."""
        return self.stops > self.starts


def link_edges(rows: Edges, columns: Edges, count: int) -> Outlines:
    """Outlines of `count` objects from their horizontal and vertical edges, each in one form whatever the order given.

    A ring begins at the start of its topmost, then leftmost edge that goes right; a polygon's shell comes first, its
    holes follow in the order of these points. Where four edges of an object meet, it turns left: holes then touch a
    ring at that corner instead of the ring touching itself, so the polygon of a 4-connected object is valid.
    """
    frame = _Frame.around(rows, columns)
    goes_right, goes_down = rows.forward, columns.forward
    after_rows = _pair(
        2 * frame.number(rows.owners, rows.stops, rows.lines) + goes_right,
        2 * frame.number(columns.owners, columns.lines, columns.starts) + ~goes_down,
    )
    after_columns = _pair(
        2 * frame.number(columns.owners, columns.lines, columns.stops) + goes_down,
        2 * frame.number(rows.owners, rows.starts, rows.lines) + goes_right,
    )
    places = frame.number(rows.owners, rows.starts, rows.lines)
    order = np.argsort(np.where(goes_right, places, np.iinfo(np.int64).max), kind="stable")
    return _lay_rings(rows, after_columns[after_rows], order, count)


@dataclass(frozen=True)
class _Frame:
    """Numbers corners by object, row and column."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def around(cls, rows: Edges, columns: Edges) -> _Frame:
        if len(rows.lines) == 0:
            return cls(0, 0, 1, 1)
        x, y = int(columns.lines.min()), int(rows.lines.min())
        return cls(x, y, int(columns.lines.max()) - x + 1, int(rows.lines.max()) - y + 1)

    def number(self, owners: Numbers, x: Numbers, y: Numbers) -> Numbers:
        return (owners * self.height + (y - self.y)) * self.width + (x - self.x)


def _pair(ends: Numbers, starts: Numbers) -> Numbers:
    # As many edges start at a corner as end there, so equal ranks belong together; the last bit settles crossings.
    partners = np.empty(len(ends), np.int64)
    partners[np.argsort(ends)] = np.argsort(starts)
    return partners


def _lay_rings(rows: Edges, following: Numbers, order: Numbers, count: int) -> Outlines:
    numbers = np.arange(len(order))
    ranks = np.empty_like(order)
    ranks[order] = numbers
    least = _spread_least(ranks, following)  # of its ring; the edge of that rank is the ring's head
    first = least == ranks
    heads = order[first[order]]
    left = _count_left(first, following)
    rings = np.append(0, np.cumsum(2 * left[heads] + 3))
    of_rank = np.empty_like(order)
    of_rank[ranks[heads]] = numbers[: len(heads)]
    points = np.empty((rings[-1], 2), np.int32)
    places = rings[of_rank[least] + 1] - 3 - 2 * left
    points[places, 0], points[places + 1, 0] = rows.starts, rows.stops
    points[places, 1] = points[places + 1, 1] = rows.lines
    points[rings[1:] - 1] = points[rings[:-1]]
    return Outlines(points, rings, np.searchsorted(rows.owners[heads], np.arange(count + 1)))


def _spread_least(ranks: Numbers, following: Numbers) -> Numbers:
    least, ahead = ranks, following
    while (least[following] != least).any():  # jumps of doubling length
        least, ahead = np.minimum(least, least[ahead]), ahead[ahead]
    return least


def _count_left(first: NDArray[np.bool_], following: Numbers) -> Numbers:
    """Edges between each one and the last of its ring, the one before the first."""
    last = first[following]
    left, ahead = np.where(last, 0, 1), np.where(last, np.arange(len(last)), following)
    while left[ahead].any():
        left, ahead = left + left[ahead], ahead[ahead]
    return left


def cancel_edges(edges: Edges) -> Edges:
    """What is left of the edges of objects' parts where two parts of one object share an edge, which run opposite."""
    if len(edges.lines) == 0:
        return edges
    lows = int(min(edges.starts.min(), edges.stops.min()))
    size = int(max(edges.starts.max(), edges.stops.max())) - lows + 1
    first, height = int(edges.lines.min()), int(edges.lines.max() - edges.lines.min()) + 1
    tracks = (edges.owners * height + (edges.lines - first)) * size - lows
    places = np.concatenate([tracks + edges.starts, tracks + edges.stops])
    order = np.argsort(places)
    steps = np.repeat([1, -1], len(tracks))[order]  # an edge that goes back begins where it stops
    places, levels = places[order], np.cumsum(steps)
    settled = np.diff(places, append=-1) != 0
    places, levels = places[settled], levels[settled]
    turning = np.diff(levels, prepend=0) != 0
    places, levels = places[turning], levels[turning]
    present = np.flatnonzero(levels)
    return _decode(places[present], places[present + 1], levels[present] > 0, (first, height, lows, size))


def _decode(lows: Numbers, highs: Numbers, forward: NDArray[np.bool_], frame: tuple[int, int, int, int]) -> Edges:
    first, height, origin, size = frame
    tracks = lows // size
    owners, lines = np.divmod(tracks, height)
    lows, highs = lows - tracks * size + origin, highs - tracks * size + origin
    return Edges(owners, lines + first, np.where(forward, lows, highs), np.where(forward, highs, lows))


def cut_edges(outlines: Outlines, owners: Numbers) -> tuple[Edges, Edges]:
    """Horizontal and vertical edges of outlines that `link_edges` laid, under the owner of each polygon."""
    rings = np.repeat(owners, np.diff(outlines.polygons))
    lengths = np.diff(outlines.rings)
    of_point = np.repeat(rings, lengths)
    numbers = np.arange(len(outlines.points)) - np.repeat(outlines.rings[:-1], lengths)
    last = np.repeat(lengths - 1, lengths)
    rows, columns = (np.flatnonzero((numbers % 2 == odd) & (numbers < last)) for odd in (0, 1))
    x, y = outlines.points.T.astype(np.int64)
    return (
        Edges(of_point[rows], y[rows], x[rows], x[rows + 1]),
        Edges(of_point[columns], x[columns], y[columns], y[columns + 1]),
    )

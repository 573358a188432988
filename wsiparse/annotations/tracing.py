"""Rasters of object ids to outlines along pixel edges, all objects of a block at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsiparse.annotations.edges import Edges, link_edges
from wsiparse.annotations.outlines import Outlines

_Ids = NDArray[np.int32]


def trace_objects(objects: NDArray[np.int32]) -> Outlines:
    """Outline each object of an id raster [height, width] along its pixel edges, holes kept, areas exact.

    Ids are 1 … n, 0 is background, and the outlines come in the order of the ids. An object must be 4-connected.
    """
    padded = np.pad(objects, 1)
    places, x, y = _find_corners(padded)
    width = padded.shape[1]
    flat = padded.ravel()
    around = flat[places], flat[places + 1], flat[places + width], flat[places + width + 1]
    rows = _find_rows(around, x, y)
    order = np.argsort(x.astype(np.min_scalar_type(width)), kind="stable")  # 16 bits sort by radix
    columns = _find_columns(tuple(ids[order] for ids in around), x[order], y[order])
    return link_edges(rows, columns, int(objects.max(initial=0)))


def _find_corners(padded: _Ids) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Where an outline may turn: place of the upper left pixel in the padded raster, and x, y, row by row."""
    across, down = padded[:, :-1] != padded[:, 1:], padded[:-1] != padded[1:]
    corners = (across[:-1] | across[1:]) & (down[:, :-1] | down[:, 1:])
    y, x = np.divmod(np.flatnonzero(corners), corners.shape[1])
    return y * padded.shape[1] + x, x, y


def _find_rows(around: tuple[_Ids, ...], x: NDArray[np.int64], y: NDArray[np.int64]) -> Edges:
    nw, ne, sw, se = around
    # Along a line, edges with their object on one side do not overlap: the nth that begins is the nth that ends.
    top = _ends(se, ne, sw, nw), _ends(sw, nw, se, ne)
    bottom = _ends(nw, sw, ne, se), _ends(ne, se, nw, sw)
    return _join_sides(((se, top), (nw, bottom)), y, x)


def _find_columns(around: tuple[_Ids, ...], x: NDArray[np.int64], y: NDArray[np.int64]) -> Edges:
    nw, ne, sw, se = around
    right = _ends(sw, se, nw, ne), _ends(nw, ne, sw, se)
    left = _ends(ne, nw, se, sw), _ends(se, sw, ne, nw)
    return _join_sides(((sw, right), (ne, left)), x, y)


def _ends(inside: _Ids, outside: _Ids, before: _Ids, beyond: _Ids) -> NDArray[np.int64]:
    """Corners at which an edge between `inside` and `outside` ends; `before` and `beyond` are what lies farther on."""
    ends = (inside != 0) & (inside != outside) & ((before != inside) | (beyond == inside))
    return np.flatnonzero(ends)


def _join_sides(
    sides: tuple[tuple[_Ids, tuple[NDArray[np.int64], NDArray[np.int64]]], ...],
    lines: NDArray[np.int64],
    along: NDArray[np.int64],
) -> Edges:
    starts, stops = (np.concatenate([ends[n] for _, ends in sides]) for n in (0, 1))
    owners = np.concatenate([ids[ends[0]] for ids, ends in sides]).astype(np.int64) - 1
    return Edges(owners, lines[starts], along[starts], along[stops])

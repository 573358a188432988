"""The flood that spreads from the summits of a relief; loops over pixels, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsiparse.annotations.relief import Mask, Places, Relief
from wsiparse.compiled import compile_loop

Objects = NDArray[np.int32]
"""Ids of objects [height, width]: 1 … n, 0 is none."""
_Raster = tuple[NDArray[np.int32], NDArray[np.int32], int]
"""Heights and owners, flattened, and the raster's width."""


@compile_loop
def flood_objects(relief: Relief, centers: Places, neck: float, uphill: int, sweeps: int, ids: Objects) -> None:
    """Ids that spread from the centres one pixel a sweep, for `sweeps` sweeps, into zeros; wears the relief down.

    A pixel goes to the first to come, among several to the one whose way has the higher pass, then to the one above, on
    the left, on the right; an id climbs no more than the neck allows until sweep `uphill`, so that it stays on its side
    of a valley. Connected parts of the mask are flooded one after another, which the processor's cache holds.
    """
    raster = relief.ravel(), ids.ravel(), relief.shape[1]
    owners, room = raster[1], relief.size
    part, wave, front = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    sources, held = np.empty(room, np.int64), np.empty(room, np.int64)
    for number in range(len(centers)):
        owners[centers[number]] = number + 1
    done = np.zeros(len(centers), np.bool_)
    for number in range(len(centers)):
        if not done[number]:
            part[0], done[number] = centers[number], True
            size, reached = _collect_part(raster, done, part, wave)
            _flood_part(raster, (neck, uphill, sweeps), (wave, front, sources, held), reached)
            for place in part[:size]:
                owners[place] = max(owners[place], 0)


@compile_loop
def _collect_part(raster: _Raster, done: Mask, part: Places, wave: Places) -> tuple[int, int]:
    """The pixels connected with part[0] into `part`, the centres among them into `wave` and `done`; how many of each.

    Pixels that are no centres are marked -1.
    """
    heights, owners, width = raster
    size, reached, at = 1, 0, 0
    while at < size:
        place = part[at]
        at += 1
        if owners[place] > 0:
            wave[reached] = place
            reached += 1
        for step in (-width, -1, 1, width):
            beside = place + step
            owner = owners[beside]
            if heights[beside] > 0 and (owner == 0 or (owner > 0 and not done[owner - 1])):
                part[size] = beside
                size += 1
                if owner > 0:
                    done[owner - 1] = True
                else:
                    owners[beside] = -1
    return size, reached


@compile_loop
def _flood_part(
    raster: _Raster, rules: tuple[float, int, int], room: tuple[Places, Places, Places, Places], reached: int
) -> None:
    """Spread from the `reached` centres in the first of the rooms; rules are neck, uphill and sweeps.

    Of what is reached the height becomes that of the pass on its way. Below 0 an owner is none yet: -1 before anybody
    asked for the pixel, from -2 on the sweep that asked last.
    """
    heights, owners, width = raster
    neck, uphill, sweeps = rules
    wave, front, sources, held = room
    sweep = waiting = 0
    while sweep < sweeps and (reached > 0 or waiting > 0):
        if reached == 0 and sweep < uphill:
            sweep = uphill  # nothing happens until then
            continue
        # What had to wait is asked again once something beside it is reached, and all of it when it may climb.
        found = 0
        for turn in range(4 * reached + (waiting if sweep == uphill else 0)):
            if turn < 4 * reached:
                place = wave[turn >> 2] + (-width, -1, 1, width)[turn & 3]
            else:
                place = held[turn - 4 * reached]
            if heights[place] == 0 or owners[place] > 0 or owners[place] == -2 - sweep:
                continue
            source = _find_source(raster, place)
            if sweep >= uphill or heights[source] >= neck * heights[place]:
                front[found], sources[found] = place, source
                found += 1
            elif owners[place] == -1:
                held[waiting] = place
                waiting += 1
            owners[place] = -2 - sweep
        for n in range(found):
            place, source = front[n], sources[n]
            owners[place], heights[place] = owners[source], min(heights[source], heights[place])
        wave, front, reached = front, wave, found
        sweep += 1
        if sweep > uphill:
            waiting = 0


@compile_loop
def _find_source(raster: _Raster, place: int) -> int:
    """The reached neighbour of the highest pass, of which there is at least one."""
    heights, owners, width = raster
    source, highest = place, 0
    for step in (-width, -1, 1, width):
        if owners[place + step] > 0 and heights[place + step] > highest:
            source, highest = place + step, heights[place + step]
    return source

"""The relief that touching objects are parted on, and its summits; loops over pixels, compiled.

All in whole numbers, but for the limits that a share of a height is compared with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsiparse.compiled import compile_loop

Mask = NDArray[np.bool_]
Relief = NDArray[np.int32]
"""Height of each pixel [height, width]: distance to the outline × probability, smoothed; 0 outside the mask."""
Places = NDArray[np.int64]
"""Pixels as places in the flattened raster [places]."""
_Cells = tuple[Places, Places]
"""Where each cell begins, and the summits sorted by cells."""


@compile_loop
def measure_depths(mask: Mask, probability: NDArray[np.uint8], radius: int, depths: Relief) -> None:
    """Octagonal distance × 3 to the outline, no more than 3 radii, × probability, into zeros [height + 2, width + 2].

    The distance is within a tenth of Euclid's: the larger of 2 × the steps along the axes and 3 × those of a king.
    """
    height, width = mask.shape
    most = 2 * radius  # beyond it both say the same
    for y in range(height):
        inside, above, depth = mask[y], depths[y], depths[y + 1]
        for x in range(width):
            if inside[x]:
                # Both, 16 bits each, until the way back.
                steps = min(above[x + 1] & 0xFFFF, depth[x] & 0xFFFF)
                kings = min(min(above[x] >> 16, above[x + 2] >> 16), min(above[x + 1] >> 16, depth[x] >> 16))
                depth[x + 1] = min(steps + 1, most) | min(kings + 1, most) << 16
    steps_below, kings_below = np.zeros(width + 2, np.int32), np.zeros(width + 2, np.int32)
    for y in range(height - 1, -1, -1):
        inside, chance, depth = mask[y], probability[y], depths[y + 1]
        steps_after = kings_after = corner = np.int32(0)  # of the pixel on the right, and of that below it
        for x in range(width - 1, -1, -1):
            steps = kings = np.int32(0)
            if inside[x]:
                nearest = min(min(corner, kings_below[x]), min(kings_below[x + 1], kings_after))
                steps = min(depth[x + 1] & 0xFFFF, min(steps_below[x + 1], steps_after) + 1)
                kings = min(depth[x + 1] >> 16, nearest + 1)
                depth[x + 1] = min(max(2 * steps, 3 * kings), 3 * radius) * max(chance[x], 1)
            corner = kings_below[x + 1]
            steps_below[x + 1], kings_below[x + 1] = steps, kings
            steps_after, kings_after = steps, kings


@compile_loop
def smooth_depths(depths: Relief, weights: NDArray[np.int32], relief: Relief) -> None:
    """Depths smoothed by weights [odd number] along both axes, where they are above 0, into zeros of their shape."""
    height, width = depths.shape
    middle = len(weights) // 2
    room = np.empty(width, np.int32)
    for y in range(height):
        depth = depths[y]
        stop = 0
        while stop < width:
            start = stop
            while start < width and depth[start] == 0:
                start += 1
            stop = start
            while stop < width and depth[stop] > 0:
                stop += 1
            # The columns of a run, and those that its ends are smoothed with.
            left, right = max(start - middle, 0), min(stop + middle, width)
            columns = room[: right - left]
            columns[:] = 0
            for row in range(max(y - middle, 0), min(y + middle + 1, height)):
                weight, source = weights[row - y + middle], depths[row, left:right]
                for n in range(len(columns)):
                    columns[n] += weight * source[n]
            smooth = relief[y, start:stop]
            for tap in range(len(weights)):
                first = max(left + middle - tap - start, 0)
                last = max(min(right + middle - tap, stop) - start, first)
                weight, target = weights[tap], smooth[first:last]
                shifted = columns[first + start + tap - middle - left :]
                for n in range(len(target)):
                    target[n] += weight * shifted[n]


@compile_loop
def find_summits(relief: Relief) -> Places:
    """Pixels above all of their eight neighbours, or level with some to the lower right."""
    height, width = relief.shape
    summits = np.empty(relief.size // 2, np.int64)  # no two lie side by side
    count = 0
    for y in range(1, height - 1):
        above, row, below = relief[y - 1], relief[y], relief[y + 1]
        for x in range(width - 2):
            here = row[x + 1]
            if (
                here > row[x]
                and here >= row[x + 2]
                and here > max(above[x], above[x + 1], above[x + 2])
                and here >= max(below[x], below[x + 1], below[x + 2])
            ):
                summits[count] = y * width + x + 1
                count += 1
    return summits[:count].copy()


@compile_loop
def find_outranked(relief: Relief, summits: Places, reach: int, distance: float, neck: float) -> Mask:
    """Which summits a higher one within `reach` outranks: nearer than `distance`, or no neck on the way to it.

    Of equal summits the upper left one is the higher: places sort as the raster is read, in any window.
    """
    cells = _sort_by_cells(summits, relief.shape, reach)
    outranked = np.empty(len(summits), np.bool_)
    for number in range(len(summits)):
        outranked[number] = _is_outranked(relief, summits[number], cells, (reach, distance, neck))
    return outranked


@compile_loop
def _is_outranked(relief: Relief, place: int, cells: _Cells, limits: tuple[int, float, float]) -> bool:
    """Whether any summit outranks the one at `place`; the limits are reach, distance and neck."""
    height, width = relief.shape
    reach, (starts, places) = limits[0], cells
    across, down = width // reach + 1, height // reach + 1
    row, column = place // width // reach, place % width // reach
    for beside in range(max(row - 1, 0), min(row + 2, down)):
        first = starts[beside * across + max(column - 1, 0)]
        last = starts[beside * across + min(column + 2, across)]
        for other in places[first:last]:
            if _outranks(relief, other, place, limits):
                return True
    return False


@compile_loop
def _sort_by_cells(summits: Places, shape: tuple[int, int], reach: int) -> _Cells:
    """Summits by cells of `reach` pixels: whatever is within reach of one lies in the 3 × 3 cells around it."""
    width = shape[1]
    across, down = width // reach + 1, shape[0] // reach + 1
    starts, places = np.zeros(across * down + 1, np.int64), np.empty_like(summits)
    for place in summits:
        starts[(place // width // reach) * across + place % width // reach + 1] += 1
    starts = np.cumsum(starts)
    free = starts[:-1].copy()
    for place in summits:
        cell = (place // width // reach) * across + place % width // reach
        places[free[cell]] = place
        free[cell] += 1
    return starts, places


@compile_loop
def _outranks(relief: Relief, other: int, place: int, limits: tuple[int, float, float]) -> bool:
    """Whether the summit at `other` outranks the one at `place`."""
    width = relief.shape[1]
    y, x = place // width, place % width
    dy, dx = other // width - y, other % width - x
    reach, distance, neck = limits
    low, high = relief[y, x], relief[y + dy, x + dx]
    if high < low or (high == low and other >= place) or dy * dy + dx * dx > reach * reach:
        return False
    needed = neck * low
    if dy * dy + dx * dx < distance * distance:
        needed = min(1.0, needed)
    steps = max(abs(dy), abs(dx))
    for along in range(steps):
        step = (along + steps // 2) % steps  # most ways dip halfway
        way_y = y + (2 * dy * step + steps) // (2 * steps)
        way_x = x + (2 * dx * step + steps) // (2 * steps)
        if relief[way_y, way_x] < needed:
            return False
    return True

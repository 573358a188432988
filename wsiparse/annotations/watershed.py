"""The loops of `split_objects` over pixels, compiled: relief, summits, and the flood that spreads from them.

All in whole numbers, but for the limits that a share of a height is compared with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsiparse.compiled import compile_loop

Mask = NDArray[np.bool_]
Relief = NDArray[np.int32]
"""Height of each pixel [height, width]: distance to the outline × probability, smoothed; 0 outside the mask."""
Objects = NDArray[np.int32]
"""Ids of objects [height, width]: 1 … n, 0 is none."""
Places = NDArray[np.int64]
"""Pixels as places in the flattened raster [places]."""


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
    height, width = relief.shape
    across, down = width // reach + 1, height // reach + 1
    # Summits by cells of `reach` pixels, so that whatever is within reach lies in the 3 × 3 cells around one.
    starts = np.zeros(across * down + 1, np.int64)
    for place in summits:
        starts[(place // width // reach) * across + place % width // reach + 1] += 1
    starts = np.cumsum(starts)
    fill = starts[:-1].copy()
    sorted_places = np.empty_like(summits)
    for place in summits:
        cell = (place // width // reach) * across + place % width // reach
        sorted_places[fill[cell]] = place
        fill[cell] += 1
    outranked = np.zeros(len(summits), np.bool_)
    for number in range(len(summits)):
        place = summits[number]
        y, x = place // width, place % width
        low = relief[y, x]
        for cell_row in range(max(y // reach - 1, 0), min(y // reach + 2, down)):
            first = starts[cell_row * across + max(x // reach - 1, 0)]
            last = starts[cell_row * across + min(x // reach + 2, across)]
            for other in sorted_places[first:last]:
                other_y, other_x = other // width, other % width
                dy, dx = other_y - y, other_x - x
                high = relief[other_y, other_x]
                lower = high > low or (high == low and other < place)
                if not lower or dy * dy + dx * dx > reach * reach:
                    continue
                needed = neck * low
                if dy * dy + dx * dx < distance * distance:
                    needed = min(1.0, needed)
                steps = max(abs(dy), abs(dx))
                outranked[number] = True
                for along in range(steps):
                    # Most ways dip halfway: from there to the ends it is found out soonest.
                    step = (along + steps // 2) % steps
                    way_y = y + (2 * dy * step + steps) // (2 * steps)
                    way_x = x + (2 * dx * step + steps) // (2 * steps)
                    if relief[way_y, way_x] < needed:
                        outranked[number] = False
                        break
                if outranked[number]:
                    break
            if outranked[number]:
                break
    return outranked


@compile_loop
def flood_objects(relief: Relief, centers: Places, neck: float, uphill: int, sweeps: int, ids: Objects) -> None:
    """Ids that spread from the centres one pixel a sweep, for `sweeps` sweeps, into zeros; wears the relief down.

    A pixel goes to the first to come, among several to the one whose way has the higher pass, then to the one above, on
    the left, on the right; an id climbs no more than the neck allows until sweep `uphill`, so that it stays on its side
    of a valley. Connected parts of the mask are flooded one after another, which the processor's cache holds.
    """
    heights, owners = relief.ravel(), ids.ravel()  # of what is reached, the height is that of the pass on its way
    width = relief.shape[1]
    around = np.array([-width, -1, 1, width])
    for number in range(len(centers)):
        owners[centers[number]] = number + 1
    part, wave, front = (
        np.empty(heights.size, np.int64),
        np.empty(heights.size, np.int64),
        np.empty(heights.size, np.int64),
    )
    sources, held = np.empty(heights.size, np.int64), np.empty(heights.size, np.int64)
    done = np.zeros(len(centers), np.bool_)
    for number in range(len(centers)):
        if done[number]:
            continue
        # Below 0 an owner is none yet: -1 for a pixel of this part, from -2 on the sweep that asked for it last.
        part[0], done[number] = centers[number], True
        size, reached, waiting, at = 1, 0, 0, 0
        while at < size:
            place = part[at]
            at += 1
            if owners[place] > 0:
                wave[reached] = place
                reached += 1
            for step in around:
                beside = place + step
                if heights[beside] > 0 and (
                    owners[beside] == 0 or (owners[beside] > 0 and not done[owners[beside] - 1])
                ):
                    part[size] = beside
                    size += 1
                    if owners[beside] > 0:
                        done[owners[beside] - 1] = True
                    else:
                        owners[beside] = -1
        sweep = 0
        while sweep < sweeps and (reached > 0 or waiting > 0):
            if reached == 0 and sweep < uphill:
                sweep = uphill  # nothing happens until then
                continue
            # What had to wait is asked again once something beside it is reached, and all of it when it may climb.
            found = 0
            for turn in range(4 * reached + (waiting if sweep == uphill else 0)):
                place = wave[turn >> 2] + around[turn & 3] if turn < 4 * reached else held[turn - 4 * reached]
                if heights[place] == 0 or owners[place] > 0 or owners[place] == -2 - sweep:
                    continue
                best, height = place, 0
                for step in around:
                    if owners[place + step] > 0 and heights[place + step] > height:
                        best, height = place + step, heights[place + step]
                if sweep < uphill and height < neck * heights[place]:
                    if owners[place] == -1:
                        held[waiting] = place
                        waiting += 1
                else:
                    front[found], sources[found] = place, best
                    found += 1
                owners[place] = -2 - sweep
            for n in range(found):
                place, source = front[n], sources[n]
                owners[place], heights[place] = owners[source], min(heights[source], heights[place])
            wave, front, reached = front, wave, found
            sweep += 1
            if sweep > uphill:
                waiting = 0
        for place in part[:size]:
            owners[place] = max(owners[place], 0)

"""Label maps to rasters of object ids: connected parts numbered."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsiparse.compiled import compile_loop

LabelMap = NDArray[np.integer[Any]]
"""Codes of a group's targets [height, width]: k is the k-th target, 0 none of them."""
_Ids = NDArray[np.int32]
_Numbers = NDArray[np.int64]


def number_objects(labels: LabelMap) -> tuple[_Ids, _Numbers]:
    """Ids [height, width] of the 4-connected parts of one code each, by their first pixels, and the code of each part.

    Ids are 1 … n, 0 where no code is. Most of a label map is empty, and a library's labelling looks at all of it.
    """
    # Made here, and touched no farther than they are filled: numpy asks for large pages, which compiled loops do not.
    objects, codes = np.zeros(labels.shape, np.int32), np.empty(labels.size, np.int64)
    count = _flood_parts(np.ascontiguousarray(labels), objects, codes, np.empty(labels.size, np.int64))
    return objects, codes[:count].copy()


@compile_loop
def _flood_parts(labels: LabelMap, objects: _Ids, codes: _Numbers, waiting: _Numbers) -> int:
    """Number the parts into zeros, with their codes; returns how many. `waiting` has room for a place a pixel."""
    height, width = labels.shape
    count = 0
    for y in range(height):
        for x in range(width):
            code = labels[y, x]
            if code == 0 or objects[y, x] > 0:
                continue
            codes[count] = code
            count += 1
            objects[y, x], waiting[0], left = count, y * width + x, 1
            while left > 0:
                left -= 1
                row, column = waiting[left] // width, waiting[left] % width
                for down, across in ((-1, 0), (0, -1), (0, 1), (1, 0)):
                    below, beside = row + down, column + across
                    inside = 0 <= below < height and 0 <= beside < width
                    if inside and labels[below, beside] == code and objects[below, beside] == 0:
                        objects[below, beside], waiting[left] = count, below * width + beside
                        left += 1
    return count

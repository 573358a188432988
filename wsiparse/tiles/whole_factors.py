"""Resampling by whole factors in whole numbers: the bytes that weights in float32 give, several times as fast.

Slides are mostly scanned at 0.25 or 0.5 µm/px and asked at multiples of it, or at half of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsiparse.geometry import Region
from wsiparse.slides.slide import Pixels

Sums = NDArray[np.uint16]
_MOST = 16
"""The sum of 16 × 16 pixels is the largest that fits 16 bits."""
_BAND_ROWS = 32
"""Output rows made at a time: more leave the processor's cache."""


def find_factor(scale: float) -> int | None:
    """The source pixels along a side of an output pixel where they are a whole number that is averaged here, else None.

    Even numbers that are no power of two have ties, which float32 may round either way: they are left to it.
    """
    factor = round(scale)
    usable = factor % 2 == 1 or factor & (factor - 1) == 0
    return factor if usable and 2 <= factor <= _MOST and abs(scale - factor) < 1e-9 else None


def average_squares(pixels: Pixels, factor: int) -> Pixels:
    """The mean of each `factor` × `factor` pixels of [h · factor, w · factor, 3], halves rounded up: [h, w, 3]."""
    height, width = (side // factor for side in pixels.shape[:2])
    output = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _BAND_ROWS):
        band = slice(top * factor, min(top + _BAND_ROWS, height) * factor)
        output[top : top + _BAND_ROWS] = _average_band(pixels[band], factor)
    return output


def _average_band(pixels: Pixels, factor: int) -> Pixels:
    rows = _add_all([pixels[n::factor] for n in range(factor)])  # [h, w · factor, 3]
    sums = _add_all([_pick_columns(rows, slice(n, None, factor)) for n in range(factor)])
    sums += np.uint16(factor * factor // 2)
    sums //= np.uint16(factor * factor)
    return sums.astype(np.uint8)


def find_halves(region: Region) -> Region:
    """The source pixels, each twice as large, that `double_pixels` needs for a region."""
    x, y, right, bottom = (side // 2 for side in (region.x - 1, region.y - 1, region.right, region.bottom))
    return Region(x, y, right - x + 1, bottom - y + 1)


def double_pixels(pixels: Pixels, region: Region) -> Pixels:
    """A region of pixels half as large as those of its source, interpolated linearly: [height, width, 3].

    `pixels` [h, w, 3] are those of `find_halves`.
    """
    output, first = np.empty((region.height, region.width, 3), np.uint8), find_halves(region).y
    for top in range(0, region.height, _BAND_ROWS):
        band = Region(region.x, region.y + top, region.width, min(_BAND_ROWS, region.height - top))
        source = find_halves(band)
        output[top : top + _BAND_ROWS] = _double_band(pixels[source.y - first : source.bottom - first], band)
    return output


def _double_band(pixels: Pixels, region: Region) -> Pixels:
    rows = np.empty((region.height, pixels.shape[1], 3), np.uint16)
    source = pixels.astype(np.uint16)
    for some, near, far in _find_neighbours(region.y, region.height):
        np.add(source[near] * np.uint16(3), source[far], out=rows[some])
    output = np.empty((region.height, region.width, 3), np.uint8)
    for some, near, far in _find_neighbours(region.x, region.width):
        sums = rows[:, near] * np.uint16(3)
        sums += rows[:, far]
        sums += np.uint16(8)
        sums >>= np.uint16(4)
        _as_items(output)[:, some] = _as_items(sums.astype(np.uint8))
    return output


def _find_neighbours(start: int, count: int) -> Iterator[tuple[slice, slice, slice]]:
    """Every other output pixel of an axis, the source pixels it lies in, and those on its other side."""
    for first in (0, 1):
        number = len(range(first, count, 2))
        # An even place lies in the left half of its source pixel; source pixels are counted from the one that the first
        # output pixel needs.
        near = (start + first) // 2 - (start - 1) // 2
        far = near - 1 if (start + first) % 2 == 0 else near + 1
        yield slice(first, None, 2), slice(near, near + number), slice(far, far + number)


def _add_all(parts: Sequence[NDArray[np.unsignedinteger]]) -> Sums:
    sums: Sums = parts[0].astype(np.uint16)
    for part in parts[1:]:
        sums += part
    return sums


def _pick_columns(pixels: Sums, columns: slice) -> Sums:
    """Some columns of pixels [h, w, 3], side by side."""
    picked = np.ascontiguousarray(_as_items(pixels)[:, columns])
    return picked.view(pixels.dtype).reshape(*picked.shape, 3)


def _as_items(pixels: NDArray[Any]) -> NDArray[Any]:
    """Pixels [h, w, 3] as one item each [h, w]: numpy copies these several times as fast as three numbers."""
    return pixels.view(f"V{3 * pixels.itemsize}")[..., 0]

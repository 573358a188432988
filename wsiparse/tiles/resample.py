"""Pixels of a slide on any grid, resampled so that an output pixel depends on its own place alone.

Downsampling averages the exact area each output pixel covers; upsampling interpolates linearly. The weights of output
pixel i follow from i counted from the slide's corner, in float64, never from the corner of the region asked for: two
reads that overlap agree in every bit. Whole factors are resampled in whole numbers, to the same bytes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from wsiparse.geometry import Grid, Region
from wsiparse.slides.slide import Pixels, Reader
from wsiparse.tiles.whole_factors import average_squares, double_pixels, find_factor, find_halves

STRIP_PIXELS = 1 << 21
"""Source pixels held at a time, as float32: 25 MB; more leave the processor's cache and are a third slower."""
_TURNED_ROWS = 16
"""Rows resampled along themselves at a time: turned all at once they pass the cache pixel by pixel."""


def read_grid(reader: Reader, grid: Grid, region: Region) -> Pixels:
    """RGB of a region of any grid over the slide, uint8 [height, width, 3]; white outside the slide."""
    level = reader.slide.best_level(grid.mpp)
    scale = grid.scale_to(reader.slide.levels[level])
    if abs(scale - 1) < 1e-9:
        return reader.read_region(region, level)
    output = np.empty((region.height, region.width, 3), np.uint8)
    rows = max(STRIP_PIXELS // max(math.ceil(region.width * scale) * math.ceil(scale), 1), 1)
    for top in range(0, region.height, rows):
        strip = Region(region.x, region.y + top, region.width, min(rows, region.height - top))
        output[top : top + strip.height] = _read_strip(reader, level, scale, strip)
    return output


def _read_strip(reader: Reader, level: int, scale: float, strip: Region) -> Pixels:
    if factor := find_factor(scale):
        source = Region(*(side * factor for side in (strip.x, strip.y, strip.width, strip.height)))
        return average_squares(reader.read_region(source, level), factor)
    if abs(scale - 0.5) < 1e-9:
        return double_pixels(reader.read_region(find_halves(strip), level), strip)
    return _weigh_strip(reader, level, scale, strip)


def _weigh_strip(reader: Reader, level: int, scale: float, strip: Region) -> Pixels:
    across, x = weigh_pixels(strip.x, strip.width, scale)
    down, y = weigh_pixels(strip.y, strip.height, scale)
    source = Region(x, y, across.shape[1], down.shape[1])
    pixels = reader.read_region(source, level).astype(np.float32)  # [source.height, source.width, 3]
    squeezed = (down @ pixels.reshape(source.height, -1)).reshape(strip.height, source.width, 3)
    output = np.empty((strip.height, strip.width, 3), np.uint8)
    for top in range(0, strip.height, _TURNED_ROWS):
        output[top : top + _TURNED_ROWS] = _squeeze_across(across, squeezed[top : top + _TURNED_ROWS])
    return output


def _squeeze_across(across: csr_array, rows: NDArray[np.float32]) -> Pixels:
    """Rows [h, source width, 3] resampled along themselves and rounded, uint8 [h, width, 3]."""
    turned = rows.transpose(1, 0, 2).reshape(rows.shape[1], -1)
    result = across @ turned
    result += np.float32(0.5)
    rounded: Pixels = result.reshape(len(result), -1, 3).transpose(1, 0, 2).astype(np.uint8)
    return rounded


def weigh_pixels(start: int, count: int, scale: float) -> tuple[csr_array, int]:
    """Weights of source pixels for output pixels start .. start + count of one axis, and the first source pixel.

    `scale` is source pixels per output pixel. The matrix is float32 [count, source pixels]; its rows sum to 1.
    """
    outputs = np.arange(start, start + count, dtype=np.float64)
    first, weights = _areas(outputs, scale) if scale >= 1 else _interpolation(outputs, scale)
    low, taps = int(first[0]), weights.shape[1]
    columns = (first - low)[:, None] + np.arange(taps)
    shape = (count, int(first[-1]) - low + taps)
    indices = np.arange(0, count * taps + 1, taps)
    return csr_array((weights.astype(np.float32).ravel(), columns.ravel(), indices), shape=shape), low


def _areas(outputs: NDArray[np.float64], scale: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    low, high = outputs * scale, (outputs + 1) * scale
    first = np.floor(low).astype(np.int64)
    sources = first[:, None] + np.arange(math.ceil(scale) + 1)
    overlap = np.minimum(high[:, None], sources + 1) - np.maximum(low[:, None], sources)
    overlap = np.clip(overlap, 0, None)
    return first, overlap / overlap.sum(1, keepdims=True)


def _interpolation(outputs: NDArray[np.float64], scale: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    centre = (outputs + 0.5) * scale - 0.5
    first = np.floor(centre).astype(np.int64)
    right = centre - first
    return first, np.stack([1 - right, right], 1)

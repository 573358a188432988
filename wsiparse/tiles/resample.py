"""Pixels of a slide on any grid, resampled so that an output pixel depends on its own place alone.

Downsampling averages the exact area each output pixel covers; upsampling interpolates linearly. The weights of output
pixel i follow from i counted from the slide's corner, in float64, never from the corner of the region asked for: two
reads that overlap agree in every bit. An output pixel that reaches beyond the slide shows what of it lies inside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wsiparse.compiled import compile_loop
from wsiparse.geometry import Grid, Region
from wsiparse.slides.slide import Pixels, Reader

STRIP_PIXELS = 1 << 21
"""Source pixels held at a time: 6 MB."""
_Places = NDArray[np.int64]
_Weights = NDArray[np.float32]


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
    slide = reader.slide.levels[level].region
    across, down = (
        Taps.along(start, count, scale).within(size)
        for start, count, size in ((strip.x, strip.width, slide.width), (strip.y, strip.height, slide.height))
    )
    pixels = reader.read_region(Region(across.start, down.start, across.length, down.length), level)
    output = np.empty((strip.height, strip.width, 3), np.uint8)
    _weigh_pixels(np.ascontiguousarray(pixels), down.firsts, down.weights, across.firsts, across.weights, output)
    return output


@dataclass(frozen=True)
class Taps:
    """The source pixels along one axis that each output pixel is made of."""

    start: int
    """The first source pixel of all."""
    firsts: _Places
    """The first one of each output pixel, counted from `start` [count]."""
    weights: _Weights
    """Of the ones from there on; those of an output pixel sum to 1 [count, taps]."""

    @classmethod
    def along(cls, start: int, count: int, scale: float) -> Taps:
        """Those of output pixels start .. start + count; `scale` is source pixels per output pixel."""
        outputs = np.arange(start, start + count, dtype=np.float64)
        firsts, weights = _areas(outputs, scale) if scale >= 1 else _interpolation(outputs, scale)
        return cls(int(firsts[0]), firsts - firsts[0], weights.astype(np.float32))

    def within(self, size: int) -> Taps:
        """The same where source pixels outside 0 .. size weigh nothing beside those inside.

        White mixed into the last pixels would look like the end of the tissue.
        """
        sources = self.start + self.firsts[:, None] + np.arange(self.weights.shape[1])
        inside = np.where((sources >= 0) & (sources < size), self.weights, 0)
        total = inside.sum(1)
        # Output pixels that lie outside altogether keep their weights: they are white.
        cut = (inside != self.weights).any(1) & (total > 0)
        weights = self.weights.copy()
        weights[cut] = inside[cut] / total[cut, None]
        return replace(self, weights=weights)

    @property
    def length(self) -> int:
        """Source pixels of all output pixels together."""
        return int(self.firsts[-1]) + int(self.weights.shape[1])


@compile_loop
def _weigh_pixels(
    pixels: Pixels, tops: _Places, down: _Weights, lefts: _Places, across: _Weights, output: Pixels
) -> None:
    """Weigh source pixels, in float32 down first and then across, and round."""
    half = np.float32(0.5)
    row = np.empty(pixels.shape[1] * 3, np.float32)
    for y in range(len(output)):
        row[:] = 0
        for tap in range(down.shape[1]):
            weight, source = down[y, tap], pixels[tops[y] + tap].ravel()
            if weight > 0:
                for n in range(len(row)):
                    row[n] += weight * np.float32(source[n])
        squeezed = output[y]
        for x in range(len(squeezed)):
            red = green = blue = np.float32(0)
            covered = row[3 * lefts[x] :]  # numba asks each place that is added up whether it counts from the end
            for tap in range(across.shape[1]):
                weight = across[x, tap]
                red += weight * covered[3 * tap]
                green += weight * covered[3 * tap + 1]
                blue += weight * covered[3 * tap + 2]
            squeezed[x, 0], squeezed[x, 1], squeezed[x, 2] = red + half, green + half, blue + half


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

"""Regions and grids: the only home of conversions between mpp, levels and pixels.

Every raster over a slide (a stored level, a probability map, a thumbnail) is a `Grid` that shares the slide's top left
corner. Pixel i of a grid covers [i, i + 1) × mpp µm, so coordinates convert by one exact ratio and never by a rounded
magnification: a landmark does not drift with its distance from the origin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Region:
    """A half-open rectangle in pixels of a stated grid; it may lie over the grid's edge."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """First column beyond the region."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row beyond the region."""
        return self.y + self.height

    @property
    def area(self) -> int:
        """Pixels inside; an empty region has none."""
        return max(self.width, 0) * max(self.height, 0)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows, then columns, to index an array whose origin is the grid's."""
        return slice(self.y, self.bottom), slice(self.x, self.right)

    def __reduce__(self) -> tuple[type[Region], tuple[int, ...]]:
        """Pickled as its numbers alone: the cores of a large slide are 100,000, and travel to workers and back."""
        return Region, (self.x, self.y, self.width, self.height)

    def intersect(self, other: Region) -> Region:
        """The part both cover; its width or height is 0 where they do not meet."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        return Region(x, y, max(min(self.right, other.right) - x, 0), max(min(self.bottom, other.bottom) - y, 0))

    def shift(self, dx: int, dy: int) -> Region:
        """The same rectangle seen from an origin at (-dx, -dy)."""
        return Region(self.x + dx, self.y + dy, self.width, self.height)

    def grow(self, margin: int) -> Region:
        """The region with `margin` more pixels on every side."""
        return Region(self.x - margin, self.y - margin, self.width + 2 * margin, self.height + 2 * margin)


@dataclass(frozen=True, slots=True)
class Grid:
    """A raster of width × height pixels of `mpp` µm over a slide, anchored at the slide's top left corner."""

    width: int
    height: int
    mpp: float

    @property
    def region(self) -> Region:
        """The whole grid."""
        return Region(0, 0, self.width, self.height)

    @property
    def area_mm2(self) -> float:
        """Area of the whole grid."""
        return self.width * self.height * self.pixel_area_um2 / 1e6

    @property
    def pixel_area_um2(self) -> float:
        """Area of one pixel."""
        return self.mpp**2

    def scale_to(self, other: Grid) -> float:
        """Pixels of `other` per pixel of this grid: multiply a coordinate by it."""
        return self.mpp / other.mpp

    def at_mpp(self, mpp: float) -> Grid:
        """The grid of another pixel size that covers this one; its last row and column may lie partly over the edge."""
        scale = self.mpp / mpp
        # The small allowance keeps 4000 × (0.25 / 0.5) at 2000 where the ratio carries a rounding error.
        return Grid(math.ceil(self.width * scale - 1e-6), math.ceil(self.height * scale - 1e-6), mpp)

    def cover(self, region: Region, source: Grid) -> Region:
        """The smallest region of this grid that covers `region` of `source`."""
        scale = source.scale_to(self)
        x, y = math.floor(region.x * scale + 1e-6), math.floor(region.y * scale + 1e-6)
        right, bottom = math.ceil(region.right * scale - 1e-6), math.ceil(region.bottom * scale - 1e-6)
        return Region(x, y, max(right - x, 0), max(bottom - y, 0))

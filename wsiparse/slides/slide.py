"""A slide as a description that pickles, and the protocol of those that read its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wsiparse.geometry import Grid, Region

Pixels = NDArray[np.uint8]
"""RGB pixels, uint8 [height, width, 3] unless said otherwise."""


@dataclass(frozen=True)
class Slide:
    """What a slide file is: sizes and scale, never an open handle."""

    id: str
    """Unique in the cohort and safe as a file name."""
    path: str
    levels: tuple[Grid, ...]
    """Stored resolutions, finest first."""
    mpp_source: str
    """Where the µm per pixel came from: `manifest`, `openslide.mpp`, `tiff.resolution`, `dicom` ..."""
    bounds: Region | None = None
    """The scanned area in level-0 pixels, where the file states all four bounds; QuPath crops to it."""
    vendor: str = ""
    codec: str = ""
    """Compression of the stored tiles, where known: `jpeg`, `jpeg2000`, ..."""
    fingerprint: str = ""
    """SHA-256 of the file's size, head and tail: the same slide wherever the file is moved."""

    @property
    def grid(self) -> Grid:
        """Level 0."""
        return self.levels[0]

    @property
    def mpp(self) -> float:
        """µm per pixel of level 0."""
        return self.levels[0].mpp

    def best_level(self, mpp: float) -> int:
        """The coarsest level that is still at least as fine as `mpp` (within 0.1 %), else level 0."""
        fitting = [n for n, level in enumerate(self.levels) if level.mpp <= mpp * 1.001]
        return max(fitting, key=lambda n: self.levels[n].mpp, default=0)


class Reader(Protocol):
    """Reads pixels of one slide; safe to use from several threads, cheap to make, never pickled."""

    @property
    def slide(self) -> Slide:
        """The slide that is read."""

    @property
    def unreadable_pixels(self) -> int:
        """Pixels returned as nodata so far because they could not be decoded; a cumulative count."""

    def read_region(self, region: Region, level: int) -> Pixels:
        """RGB of a region in pixels of a level, uint8 [h, w, 3]; white outside the slide and where unreadable."""

    def close(self) -> None:
        """Release the file; the reader opens it again when asked for pixels."""

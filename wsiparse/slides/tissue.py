"""Where a slide shows tissue: stained, not glass, not a pathologist's pen.

The stain is judged in optical density, where light that passes several layers adds up (Ruifrok and Johnston 2001). The
border between glass and tissue is Otsu's (1979), held within limits that no glass reaches and no tissue stays below:
alone it would cut a slide that is all tissue, or all glass, in two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsiparse.geometry import Grid, Region
from wsiparse.slides.slide import Pixels

Mask = NDArray[np.bool_]
Density = NDArray[np.float32]

STAIN_LIMITS = (0.05, 0.12)
"""Lowest and highest stain (mean density + range over the colours) that may part glass from tissue."""
SMOOTHING_UM = 8.0
MIN_TISSUE_UM2 = 4_000.0
"""Smaller pieces are dust,"""
MIN_TISSUE_SHARE = 0.05
"""unless they are more than this of an image, which is then a crop of a slide."""
GAP_UM = 120.0
"""Narrower gaps in tissue are lumens, mucus and fat, and belong to it."""
MAX_HOLE_UM2 = 100_000.0
"""Smaller gaps that tissue encloses belong to it too."""
MIN_PEN_UM2 = 50_000.0
"""Smaller spots of a pen's colour are pigment or blood."""
PEN_HALO_UM = 48.0
"""Rim of a stroke where its colour is mixed with the glass."""
MAX_PEN_SHARE = 0.8
"""A colour that makes up more of what is stained is the slide's stain, not a pen."""


@dataclass(frozen=True, eq=False)
class TissueMask:
    """Which pixels of a thumbnail show tissue."""

    mask: Mask
    """bool [H, W]"""
    grid: Grid
    pen_share: float
    """Share of the thumbnail under pen marks, which count as no tissue."""

    @property
    def share(self) -> float:
        """Share of the thumbnail that is tissue."""
        return float(self.mask.mean())

    def covers(self, region: Region, grid: Grid) -> bool:
        """Whether any tissue touches a region of another grid over the same slide."""
        return bool(self.covered([region], grid)[0])

    def covered(self, regions: Sequence[Region], grid: Grid) -> Mask:
        """`covers` of many regions at once, bool [N]."""
        corners = np.array([(r.x, r.y, r.right, r.bottom) for r in regions], np.float64).reshape(-1, 4)  # [N, 4]
        corners *= grid.scale_to(self.grid)
        low = np.floor(corners[:, :2] + 1e-6).astype(np.int64)
        high = np.ceil(corners[:, 2:] - 1e-6).astype(np.int64)
        limits = (self.grid.width, self.grid.height)
        (left, top), (right, bottom) = np.clip(low, 0, limits).T, np.clip(high, 0, limits).T
        sums = self._sums
        inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        # An empty region touches nothing, though its corners may lie within a pixel of the thumbnail.
        covered: Mask = (inside > 0) & (corners[:, 2:] > corners[:, :2]).all(1)
        return covered

    @cached_property
    def _sums(self) -> NDArray[np.int64]:
        """Tissue pixels above and left of each corner, [H + 1, W + 1]."""
        return np.pad(self.mask.cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))


def find_tissue(pixels: Pixels, grid: Grid) -> TissueMask:
    """Find the tissue of a thumbnail, uint8 [H, W, 3], of a slide stained with H&E or another dye; pale slides too."""
    density = measure_density(pixels)
    stained = _find_stained(density, grid)
    pen = find_pen(density, stained, grid)
    tissue = _close_gaps(stained & ~pen, grid)
    least = min(MIN_TISSUE_UM2 / grid.pixel_area_um2, MIN_TISSUE_SHARE * stained.size)
    tissue = _drop_pieces(tissue & ~pen, least)
    # Only what tissue encloses is a hole: the glass around it is none, however small the slide.
    holes = ndimage.binary_fill_holes(tissue) & ~tissue
    small = holes & ~_drop_pieces(holes, MAX_HOLE_UM2 / grid.pixel_area_um2)
    return TissueMask((tissue | small) & ~pen, grid, float(pen.mean()))


def measure_density(pixels: Pixels) -> Density:
    """Optical density of each colour against the slide's own glass, float32 [3, H, W]; 0 is clear."""
    white = _measure_glass(pixels)
    values = np.arange(256)[None] + 1.0
    table = np.maximum(-np.log10(values / (white[:, None] + 1)), 0).astype(np.float32)  # [3, 256]
    return np.stack([np.take(table[color], pixels[..., color]) for color in range(3)])  # [3, H, W]


def find_pen(density: Density, stained: Mask, grid: Grid) -> Mask:
    """Strokes of blue, green, black and red markers, with their halo, from densities [3, H, W]; bool [H, W].

    Haematoxylin, eosin and DAB all take more green than red from the light: whatever takes red first is blue or green
    ink. Black takes all colours alike, and red ink takes blue and green alike and far more than eosin does. A colour
    that makes up most of what is stained is a dye; black never is, be it ink or the rim of the scan.
    """
    red, green, blue = density
    strongest = density.max(axis=0)
    bluish = (strongest > 0.15) & (red > 1.1 * green) & (red > 1.1 * blue)
    deep_blue = (strongest > 0.4) & (red > 0.9 * green) & (blue < 0.2 * green)
    bright_red = (green > 0.75) & (blue > 0.75 * green) & (red < 0.25 * green)
    black = _find_strokes((strongest > 0.4) & (density.min(axis=0) > 0.75 * strongest), grid)
    colored = _find_strokes(bluish | deep_blue | bright_red, grid)
    if np.count_nonzero(colored & stained) > MAX_PEN_SHARE * np.count_nonzero(stained):
        return black
    return black | colored


def _find_strokes(ink: Mask, grid: Grid) -> Mask:
    smooth = ndimage.median_filter(ink.view(np.uint8), 3).view(bool)
    strokes = _drop_pieces(smooth, MIN_PEN_UM2 / grid.pixel_area_um2)
    if not strokes.any():
        return strokes
    halo: Mask = ndimage.maximum_filter(strokes, _odd_side(PEN_HALO_UM, grid))
    return halo


def _close_gaps(mask: Mask, grid: Grid) -> Mask:
    """The mask with gaps narrower than GAP_UM filled, open ones too."""
    closed: Mask = ndimage.grey_closing(mask.view(np.uint8), _odd_side(GAP_UM / 2, grid), mode="nearest").view(bool)
    return closed


def _odd_side(radius_um: float, grid: Grid) -> int:
    return 2 * round(radius_um / grid.mpp) + 1


def _measure_glass(pixels: Pixels) -> NDArray[np.float64]:
    """The colour of clear glass, [3]: the brightest greyish pixels, or a usual scanner's white where there are none."""
    flat = pixels.reshape(-1, 3)
    low, high = flat.min(axis=1), flat.max(axis=1)
    # Full white is often no glass but what the scanner left out.
    glass = flat[(low >= 190) & (high - low <= 15) & (low < 255)]  # [N, 3]
    if len(glass) <= 0.005 * len(flat):
        return np.full(3, 245.0)
    white: NDArray[np.float64] = np.percentile(glass, 90, axis=0)
    return white


def _find_stained(density: Density, grid: Grid) -> Mask:
    stain = density.mean(axis=0) + np.ptp(density, axis=0)
    smooth = ndimage.gaussian_filter(stain, SMOOTHING_UM / grid.mpp / 2, mode="nearest")
    low, high = STAIN_LIMITS
    stained: Mask = smooth > min(max(_split_otsu(smooth), low), high)
    return stained


def _split_otsu(values: Density) -> float:
    """The value that best parts a histogram in two: the largest variance between both sides."""
    counts, edges = np.histogram(values, bins=256, range=(0.0, 0.6))
    centres = (edges[1:] + edges[:-1]) / 2
    below = counts.cumsum()
    above = below[-1] - below
    moment = (counts * centres).cumsum()
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (moment / below - (moment[-1] - moment) / above) ** 2
    if not np.isfinite(between).any():
        return 0.0
    return float(edges[1:][np.nanargmax(np.where(np.isfinite(between), between, np.nan))])


def _drop_pieces(mask: Mask, min_pixels: float) -> Mask:
    """The mask without 4-connected pieces of fewer pixels."""
    pieces, count = ndimage.label(mask)
    if count == 0 or min_pixels <= 1:
        return mask
    keep = np.bincount(pieces.ravel()) >= math.ceil(min_pixels)
    keep[0] = False
    kept: Mask = keep[pieces]
    return kept

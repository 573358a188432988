"""HD95 of a target over a whole slide: borders gathered region by region, then compared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from wsiparse.evaluation.distances import Mask, Points, find_border, join_borders, measure_hd95
from wsiparse.evaluation.references import Reference
from wsiparse.geometry import Grid, Region
from wsiparse.maps.labels import LabelImage, read_labels
from wsiparse.slides.levels import cut_region

Draw = Callable[[Region], Mask]
"""Pixels [h, w] of a region that lies within the grid."""


def measure_slide_hd95(image: LabelImage, target: str, reference: Reference) -> float:
    """HD95 in µm between the label map and the reference of a target that both know; nan where either has no pixel.

    What the reference ignores belongs to neither. Memory is that of the borders.
    """
    grid, side = image.canvas.grid, image.canvas.tiling.block
    code = [known.name for known in image.targets].index(target) + 1

    def find_compared(region: Region) -> NDArray[np.bool_]:
        return ~reference.draw_ignored(region, grid)

    predicted = gather_border(lambda region: (read_labels(image, region) == code) & find_compared(region), grid, side)
    drawn = gather_border(lambda region: reference.draw(target, region, grid) & find_compared(region), grid, side)
    return measure_hd95(predicted, drawn, grid.mpp)


def gather_border(draw: Draw, grid: Grid, side: int) -> Points:
    """The border of a whole mask, of which only a square of `side` pixels is in memory at a time."""
    regions = cut_region(grid.region, (side, side))
    return join_borders(find_border(_draw_grown(draw, region, grid), region) for region in regions)


def _draw_grown(draw: Draw, region: Region, grid: Grid) -> Mask:
    """The mask of a region and one pixel around it, false outside the grid."""
    grown = region.grow(1)
    inside = grown.intersect(grid.region)
    mask = np.zeros((grown.height, grown.width), np.bool_)
    mask[inside.shift(-grown.x, -grown.y).slices] = draw(inside)
    return mask

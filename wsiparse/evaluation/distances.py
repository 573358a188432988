"""How far apart two outlines run: HD95, from their border pixels alone.

Borders are gathered block by block and compared by a tree of points, so that memory is that of the borders and never
that of the slide, and every distance is exact however far it reaches beyond a block.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from wsiparse.geometry import Region

Mask = NDArray[np.bool_]
Points = NDArray[np.int32]
"""x, y of pixels [points, 2]."""


def find_border(mask: Mask, region: Region) -> Points:
    """Pixels of a region whose mask is set while one of their four neighbours is not, in pixels of the grid.

    `mask` is that of the region grown by one pixel [height + 2, width + 2], false outside the grid, so that blocks
    together have exactly the border of the whole.
    """
    inside = ndimage.binary_erosion(mask)[1:-1, 1:-1]
    rows, columns = np.nonzero(mask[1:-1, 1:-1] & ~inside)
    return np.column_stack([columns + region.x, rows + region.y]).astype(np.int32)


def join_borders(borders: Iterable[Points]) -> Points:
    """The border of a whole from those of its blocks."""
    return np.concatenate([np.empty((0, 2), np.int32), *borders])


def measure_hd95(predicted: Points, reference: Points, mpp: float, percentile: float = 95.0) -> float:
    """Distance in µm within which 95 % of each border lies from the other, the larger of both directions.

    Distances are between pixel centres; nan where either border is empty, for then no distance exists. This is the
    definition of Metrics Reloaded (Maier-Hein et al. 2024); 100 gives the Hausdorff distance.
    """
    if len(predicted) == 0 or len(reference) == 0:
        return math.nan
    directions = (_find_distances(predicted, reference), _find_distances(reference, predicted))
    return max(float(np.percentile(distances, percentile)) for distances in directions) * mpp


def _find_distances(points: Points, others: Points) -> NDArray[np.float64]:
    distances, _ = KDTree(others).query(points)
    return np.asarray(distances)

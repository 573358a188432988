"""The label map of an exclusive group on disk: an OME-Zarr label image inside its canvas, cut by the same blocks.

Code n is the n-th target of the group in the canvas's order, 0 is none of them; one channel, no probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import OutputError
from wsiparse.geometry import Region
from wsiparse.maps.canvas import Canvas, read_attributes, read_region, write_group
from wsiparse.maps.metadata import VERSION, describe_labels, list_levels
from wsiparse.maps.pyramid import build_levels, pool_mode
from wsiparse.maps.recognition import Labels, label_type
from wsiparse.maps.shards import create_array, read_pixels, write_shard
from wsiparse.ontology import Target, list_groups
from wsiparse.tiles.plan import Block


@dataclass(frozen=True)
class LabelImage:
    """Where the label map of a group lies; it pickles and holds nothing open."""

    canvas: Canvas
    group: str

    @property
    def targets(self) -> tuple[Target, ...]:
        """Targets of the group; the n-th has code n + 1."""
        return tuple(target for target in self.canvas.targets if target.group == self.group)

    @property
    def channels(self) -> list[int]:
        """Their places in the canvas."""
        return [n for n, target in enumerate(self.canvas.targets) if target.group == self.group]

    @property
    def path(self) -> Path:
        """The label image's own group."""
        return Path(self.canvas.path, "labels", _quote_name(self.group))

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Integer type of the codes."""
        return label_type(len(self.targets))


def create_labels(canvas: Canvas, group: str) -> LabelImage:
    """Make the label image of a group, or take up the one that is there; its blocks are kept."""
    image = LabelImage(canvas, group)
    if not image.targets:
        groups = sorted({target.group for target in canvas.targets})
        raise OutputError(f"{canvas.path}: no target of group {group!r}; expected one of {groups}")
    if not (image.path / "zarr.json").exists():
        grid = canvas.grid
        create_array(image.path / "0", (grid.height, grid.width), canvas.tiling.block, image.dtype)
        write_group(image.path, {"ome": describe_labels(image.path.name, (grid,), image.targets)})
    _list_group(image)
    return image


def list_labels(canvas: Canvas) -> tuple[LabelImage, ...]:
    """The label images that were made of a canvas, in the order of its targets."""
    images = (LabelImage(canvas, group) for group in list_groups(canvas.targets))
    return tuple(image for image in images if (image.path / "zarr.json").exists())


def write_labels(image: LabelImage, block: Block, labels: Labels) -> None:
    """Write a block's codes [h, w], h and w as its region is clipped; one put of one shard."""
    write_shard(image.path / "0", block.region, [labels])


def read_labels(image: LabelImage, region: Region, level: int = 0) -> Labels:
    """Codes [h, w] of a region in pixels of a level; 0 beyond it and where no block was written."""
    return read_pixels(image.path / str(level), region)


def read_scores(image: LabelImage, region: Region) -> NDArray[np.uint8]:
    """Probabilities uint8 [targets of the group, h, w] that a region's labels come from."""
    scores: NDArray[np.uint8] = read_region(image.canvas, region)[image.channels]
    return scores


def build_label_pyramid(image: LabelImage) -> None:
    """Write all levels of a finished label image by the commonest code, then name them in its metadata."""
    levels = list_levels(image.canvas.grid)
    build_levels(image.path, levels, image.canvas.tiling.block, pool_mode)
    write_group(image.path, {"ome": describe_labels(image.path.name, levels, image.targets)})


def _list_group(image: LabelImage) -> None:
    folder = image.path.parent
    known = read_attributes(folder)["ome"]["labels"] if (folder / "zarr.json").exists() else []
    if image.path.name not in known:
        write_group(folder, {"ome": {"version": VERSION, "labels": [*known, image.path.name]}})


def _quote_name(group: str) -> str:
    # Zarr keeps '/', a leading '__' and names of dots alone for itself.
    name = quote(group, safe=" ")
    return name if name.strip(".") and not name.startswith("__") else "group " + name

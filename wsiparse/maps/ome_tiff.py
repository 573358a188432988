"""A label map as one pyramidal, tiled OME-TIFF: the file that most programs for slides open."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tifffile

from wsiparse.files import write_whole
from wsiparse.geometry import Grid, Region
from wsiparse.maps.labels import LabelImage, read_labels
from wsiparse.maps.pyramid import choose_levels
from wsiparse.maps.recognition import Labels

TILE = 512
_READ_TILES = 8
"""Tiles read at once: chunks on disk do not end where tiles do, and each is decoded once or twice, not four times."""


def export_ome_tiff(image: LabelImage, path: str | Path, level: int = 0) -> None:
    """Write a label map from a level downwards; the coarser levels are sub-images of the finest, as OME-TIFF wants.

    Pixels are the codes, 0 is none; the targets' names stand by their codes in the OME-XML. Memory holds a few tiles.
    The file appears when all is written. Raises InputError for a level that the canvas has not, OutputError where the
    file cannot be written.
    """
    levels = choose_levels(image.canvas, level)
    with write_whole(Path(path)) as partial, tifffile.TiffWriter(partial, bigtiff=True, ome=True) as file:
        for number, grid in enumerate(levels):
            kind: dict[str, Any] = {"subfiletype": 1, "metadata": None}
            if number == 0:
                kind = {"subifds": len(levels) - 1, "metadata": _describe(image, grid)}
            file.write(
                _read_tiles(image, grid, level + number),
                shape=(grid.height, grid.width),
                dtype=image.dtype,
                tile=(TILE, TILE),
                photometric="minisblack",
                compression="adobe_deflate",
                maxworkers=1,
                resolution=(1e4 / grid.mpp, 1e4 / grid.mpp),
                resolutionunit="CENTIMETER",
                **kind,
            )


def _describe(image: LabelImage, grid: Grid) -> dict[str, Any]:
    return {
        "axes": "YX",
        "Name": image.group,
        "Channel": {"Name": image.group},
        "PhysicalSizeX": grid.mpp,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": grid.mpp,
        "PhysicalSizeYUnit": "µm",
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{image.canvas.digest}/{image.group}/{grid.mpp}")),
        "MapAnnotation": {str(code): target.name for code, target in enumerate(image.targets, start=1)},
    }


def _read_tiles(image: LabelImage, grid: Grid, level: int) -> Iterator[Labels]:
    for y in range(0, grid.height, TILE):
        for left in range(0, grid.width, TILE * _READ_TILES):
            columns = range(0, min(grid.width - left, TILE * _READ_TILES), TILE)
            labels = read_labels(image, Region(left, y, len(columns) * TILE, TILE), level)
            for x in columns:
                yield labels[:, x : x + TILE]

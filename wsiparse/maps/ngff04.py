"""A finished canvas as OME-Zarr 0.4, for readers that do not know 0.5 yet: QuPath, ilastik, older napari.

Zarr v2 with zlib, which every reader has without a library of its own; chunks of zeros are not written.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zarr

from wsiparse.files import write_whole_folder
from wsiparse.geometry import Grid, Region
from wsiparse.maps.canvas import Canvas, describe_canvas
from wsiparse.maps.labels import LabelImage, list_labels
from wsiparse.maps.metadata import describe_image, describe_labels
from wsiparse.maps.pyramid import choose_levels
from wsiparse.maps.shards import read_pixels, report_unwritable

VERSION = "0.4"
CHUNK = 1024
"""Side of a chunk; each is a file, and clusters suffer from small ones."""
_COMPRESSOR: dict[str, Any] = {"id": "zlib", "level": 1}


def export_ngff04(canvas: Canvas, path: str | Path, level: int = 0) -> None:
    """Write the maps of a canvas and their label maps from a level downwards; that level becomes the finest.

    The folder appears when all is written; one written before is replaced. Raises InputError for a level that the
    canvas has not, OutputError where the folder cannot be written.
    """
    levels = choose_levels(canvas, level)
    with write_whole_folder(Path(path), ".zattrs") as partial:
        ome = _as_version_4(describe_image(Path(canvas.path).name, levels, canvas.targets))
        _write_group(partial, {**ome, "wsiparse": describe_canvas(canvas)})
        _copy_levels(Path(canvas.path), partial, levels, level)
        images = list_labels(canvas)
        if images:
            _write_group(partial / "labels", {"labels": [image.path.name for image in images]})
        for image in images:
            _copy_labels(image, partial / "labels" / image.path.name, levels, level)


def _copy_labels(image: LabelImage, path: Path, levels: tuple[Grid, ...], level: int) -> None:
    _write_group(path, _as_version_4(describe_labels(path.name, levels, image.targets)))
    _copy_levels(image.path, path, levels, level)


def _as_version_4(ome: dict[str, Any]) -> dict[str, Any]:
    """The same statements where 0.4 wants them: no `ome` around them, and the version inside of each."""
    places = {name: value for name, value in ome.items() if name != "version"}
    places["multiscales"] = [{"version": VERSION, **multiscale} for multiscale in ome["multiscales"]]
    for name in {"omero", "image-label"} & set(places):
        places[name] = {"version": VERSION, **places[name]}
    return places


def _write_group(path: Path, attributes: dict[str, Any]) -> None:
    with report_unwritable(path):
        zarr.create_group(store=str(path), attributes=attributes, zarr_format=2)


def _copy_levels(source: Path, path: Path, levels: tuple[Grid, ...], level: int) -> None:
    for number, grid in enumerate(levels):
        _copy_array(source / str(level + number), path / str(number), grid)


def _copy_array(source: Path, path: Path, grid: Grid) -> None:
    first = read_pixels(source, Region(0, 0, 1, 1))
    leading = first.shape[:-2]
    with report_unwritable(path):
        array = zarr.create_array(
            store=str(path),
            shape=(*leading, grid.height, grid.width),
            chunks=(*[1] * len(leading), CHUNK, CHUNK),
            dtype=first.dtype,
            compressors=_COMPRESSOR,
            fill_value=0,
            zarr_format=2,
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )
        for region in _cut_chunks(grid):
            array[(..., *region.slices)] = read_pixels(source, region)


def _cut_chunks(grid: Grid) -> Iterator[Region]:
    for y in range(0, grid.height, CHUNK):
        for x in range(0, grid.width, CHUNK):
            yield Region(x, y, CHUNK, CHUNK).intersect(grid.region)

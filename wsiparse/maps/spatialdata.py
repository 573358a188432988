"""A slide's results as a SpatialData store: maps as images, label maps as labels, outlines as shapes.

All of them share the coordinate system `global`, whose unit is a pixel of the slide's level 0. Layout: containers of
version 0.2, elements of version 0.3 (https://spatialdata.scverse.org). Arrays are those of the run, file by file.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsiparse import __version__
from wsiparse.files import MARK, write_whole_folder
from wsiparse.geometry import Grid
from wsiparse.maps.canvas import Canvas, write_group
from wsiparse.maps.labels import LabelImage, list_labels
from wsiparse.maps.pyramid import choose_levels
from wsiparse.maps.shards import report_unwritable

SYSTEM = "global"
SHAPES = "outlines"
_VERSIONS = {"store": {"version": "0.2"}, "element": {"version": "0.3"}}
_NGFF = "0.5-dev-spatialdata"


@dataclass(frozen=True)
class SpatialSource:
    """What a store is made of."""

    canvases: Sequence[Canvas]
    outlines: Path | None
    """GeoParquet in pixels of the slide's level 0; None where nothing is outlined: SpatialData reads no empty one."""
    mpp: float
    """Of the slide's level 0."""


def export_spatialdata(source: SpatialSource, path: str | Path, level: int = 0) -> None:
    """Write a store whose finest maps are those of `level`.

    The folder appears when all is written; one written before is replaced. Raises InputError for a level that a
    canvas has not, OutputError where the folder cannot be written.
    """
    with write_whole_folder(Path(path), "zarr.json") as partial:
        labels = [_write_maps(canvas, partial, level, source.mpp) for canvas in source.canvases]
        write_group(partial / "images", {})
        write_group(partial / "labels", {"ome": {"labels": [name for names in labels for name in names]}})
        write_group(partial / "shapes", {})
        if source.outlines:
            _write_outlines(source.outlines, partial / "shapes" / SHAPES)
        write_group(partial, {"spatialdata_attrs": _VERSIONS["store"], MARK: {"version": __version__}})


def _write_maps(canvas: Canvas, store: Path, level: int, mpp: float) -> list[str]:
    """Write a pass and its label maps; returns the names of these."""
    levels, name = choose_levels(canvas, level), Path(canvas.path).name
    channels = [{"label": target.name} for target in canvas.targets]
    described = {"omero": {"channels": channels}, **_describe_levels(name, levels, "cyx", mpp)}
    _write_element(store / "images" / name, described)
    _copy_levels(Path(canvas.path), store / "images" / name, len(levels), level)
    images = _name_images(name, list_labels(canvas))
    for label, image in images.items():
        _write_element(store / "labels" / label, _describe_levels(label, levels, "yx", mpp))
        _copy_levels(image.path, store / "labels" / label, len(levels), level)
    return list(images)


def _name_images(prefix: str, images: Iterable[LabelImage]) -> dict[str, LabelImage]:
    """Label images by names of the signs that SpatialData takes, no two of them alike but for capitals."""
    named: dict[str, LabelImage] = {}
    for image in images:
        name = f"{prefix}-" + re.sub(r"[^\w.-]+", "_", image.group)
        while name.casefold() in map(str.casefold, named):
            name += "_"
        named[name] = image
    return named


def _write_element(path: Path, ome: dict[str, Any]) -> None:
    write_group(path, {"ome": {"version": _NGFF, **ome}, "spatialdata_attrs": _VERSIONS["element"]})


def _copy_levels(source: Path, path: Path, count: int, level: int) -> None:
    with report_unwritable(path):
        for number in range(count):
            _copy_folder(source / str(level + number), path / str(number))


def _copy_folder(source: Path, path: Path) -> None:
    try:
        shutil.copytree(source, path)
    except shutil.Error as error:  # what each of its files met
        raise OSError(error.args[0][0][2]) from error


def _write_outlines(source: Path, path: Path) -> None:
    place = {"type": "identity", **_join_systems("xy")}
    attributes = {"encoding-type": "ngff:shapes", "axes": ["x", "y"], "coordinateTransformations": [place]}
    write_group(path, {**attributes, "spatialdata_attrs": _VERSIONS["element"]})
    with report_unwritable(path):
        shutil.copyfile(source, path / "shapes.parquet")


def _describe_levels(name: str, levels: Sequence[Grid], axes: str, mpp: float) -> dict[str, Any]:
    leading = [1.0] * (len(axes) - 2)
    datasets = [
        {"path": str(n), "coordinateTransformations": [_scale([*leading, *[level.mpp / levels[0].mpp] * 2])]}
        for n, level in enumerate(levels)
    ]
    place = {**_scale([*leading, *[levels[0].mpp / mpp] * 2]), **_join_systems(axes)}
    plain = [{"name": axis, "type": "channel" if axis == "c" else "space"} for axis in axes]
    return {"multiscales": [{"name": name, "axes": plain, "datasets": datasets, "coordinateTransformations": [place]}]}


def _scale(factors: list[float]) -> dict[str, Any]:
    return {"type": "scale", "scale": factors}


def _join_systems(axes: str) -> dict[str, Any]:
    """From an element's own axes to the shared system."""
    described = [
        {"name": axis, "type": "channel"} if axis == "c" else {"name": axis, "type": "space", "unit": "unit"}
        for axis in axes
    ]
    return {"input": {"name": axes, "axes": described}, "output": {"name": SYSTEM, "axes": described}}

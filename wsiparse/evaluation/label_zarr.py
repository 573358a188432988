"""Label images in Zarr: OME-Zarr 0.4 and 0.5, alone or in an image's `labels`, and plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zarr

from wsiparse.errors import ReferenceFileError
from wsiparse.evaluation.rasters import Raster, choose_level, keeps_values
from wsiparse.slides.slide import Slide

_MARKS = ("zarr.json", ".zarray", ".zgroup")
_NAMES = ("target", "class", "name", "label")
"""Properties of a label value that may name it; OME-Zarr leaves to writers what they are called."""
_EXPECTED = "expected a label image (OME-Zarr, or an array of whole numbers [y, x])"


def is_zarr(path: Path) -> bool:
    """Whether a Zarr group or array lies at a path."""
    return any((path / mark).is_file() for mark in _MARKS)


def open_label_zarr(path: Path, slide: Slide, mpp: float) -> tuple[Raster, dict[int, str]]:
    """A label image, at the coarsest level that is at least as fine as `mpp`, and what it says its values mean.

    Where it says nothing, the second is empty. Raises ReferenceFileError for what is no label image.
    """
    try:
        node = zarr.open(store=str(path), mode="r")
        image = node if isinstance(node, zarr.Array) else _find_labels(path, node)
        if isinstance(image, zarr.Array):
            return _check_array(path, image), {}
        ome = _read_ome(image)
        arrays = [image[dataset["path"]] for dataset in ome["multiscales"][0]["datasets"]]
        levels = [(array.shape[-1], array) for array in arrays if isinstance(array, zarr.Array)]
        finest, chosen = (_check_array(path, array) for array in (levels[0][1], choose_level(levels, slide, mpp)))
        array = chosen if chosen is finest or keeps_values(chosen, finest) else finest
        return array, _read_names(ome.get("image-label", {}))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ReferenceFileError(f"{path}: {error!r:.200}; {_EXPECTED}") from error


def _find_labels(path: Path, group: zarr.Group) -> zarr.Group:
    """The group itself where it is a label image, else the only one in its `labels`."""
    if "image-label" in _read_ome(group) or "labels" not in group:
        return group
    names = _read_ome(group["labels"]).get("labels", [])
    if len(names) != 1:
        raise ReferenceFileError(f"{path}: label images {names}; name one of them: {path}/labels/<name>")
    found = group[f"labels/{names[0]}"]
    if not isinstance(found, zarr.Group):
        raise ReferenceFileError(f"{path}: labels/{names[0]} is an array; {_EXPECTED}")
    return found


def _read_ome(node: Any) -> Mapping[str, Any]:
    """What OME-Zarr says: version 0.5 under a name of its own, 0.4 beside all else."""
    attributes = dict(node.attrs)
    ome = attributes.get("ome", attributes)
    return ome if isinstance(ome, dict) else {}


def _read_names(label: Mapping[str, Any]) -> dict[int, str]:
    names = {
        entry["label-value"]: next((entry[key] for key in _NAMES if isinstance(entry.get(key), str)), None)
        for entry in label.get("properties", [])
    }
    return {int(value): name for value, name in names.items() if name is not None}


def _check_array(path: Path, array: zarr.Array[Any]) -> zarr.Array[Any]:
    if array.ndim < 2 or set(array.shape[:-2]) - {1} or array.dtype.kind not in "bui":
        raise ReferenceFileError(f"{path}: {array.dtype} values {array.shape}; {_EXPECTED}")
    return array

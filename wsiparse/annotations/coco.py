"""COCO's object detection format: all slides of a run as images, their outlines as polygons, in one JSON document.

COCO's polygons know no holes, and its run lengths count the pixels of a whole image, more than 32 bits hold on a slide.
So a hole is joined to its shell by a slit of no width, which an even-odd filling, that of pycocotools, leaves open.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
import shapely
from shapely import Polygon

from wsiparse import __version__
from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.asap import join_holes
from wsiparse.files import write_whole
from wsiparse.ontology import Target
from wsiparse.slides.slide import Slide

Entries = Iterable[dict[str, Any]]


def write_coco(
    slides: Iterable[tuple[Slide, Iterable[Annotation]]], path: str | Path, targets: Sequence[Target]
) -> int:
    """Write the annotations of slides, and return how many; pixels are those of level 0 of the full slide.

    Ids count from 1 in the order given; a category is a target, its supercategory the target's group; `score` is the
    mean probability. Annotations of a class that is no target are left out. The document is streamed and appears when
    all is written; OutputError where it cannot be.
    """
    pairs = list(slides)
    names = _name_files([slide.path for slide, _ in pairs])
    named = enumerate(zip(names, (slide for slide, _ in pairs), strict=True), start=1)
    images = [_describe_image(number, *one) for number, one in named]
    categories = {target.name: number for number, target in enumerate(targets, start=1)}
    with write_whole(Path(path)) as partial, partial.open("wb") as file:
        file.write(b'{"info":' + orjson.dumps({"description": f"wsiparse {__version__}", "version": "1.0"}))
        _write_list(file, "images", images)
        _write_list(file, "categories", [_describe_category(categories[target.name], target) for target in targets])
        count = _write_list(file, "annotations", _describe_annotations(pairs, categories))
        file.write(b"}\n")
    return count


def _write_list(file: BinaryIO, name: str, entries: Entries) -> int:
    file.write(f',\n"{name}":['.encode())
    count = 0
    for count, entry in enumerate(entries, start=1):
        file.write((b",\n" if count > 1 else b"\n") + orjson.dumps(entry, option=orjson.OPT_SERIALIZE_NUMPY))
    file.write(b"]")
    return count


def _name_files(paths: Sequence[str]) -> list[str]:
    """The names of slides' files; where two are equal, paths from the folder that all lie in, as COCO has them."""
    names = [Path(path).name for path in paths]
    if len(set(names)) == len(set(paths)):
        return names
    try:
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])  # pathlib would make one of two slashes
    except ValueError:  # they have none in common
        return list(paths)
    return [Path(os.path.relpath(path, folder)).as_posix() for path in paths]


def _describe_image(number: int, name: str, slide: Slide) -> dict[str, Any]:
    size = {"width": slide.grid.width, "height": slide.grid.height}
    return {"id": number, "file_name": name, **size, "slide": slide.id, "mpp": slide.mpp}


def _describe_category(number: int, target: Target) -> dict[str, Any]:
    return {"id": number, "name": target.name, "supercategory": target.group}


def _describe_annotations(
    pairs: Iterable[tuple[Slide, Iterable[Annotation]]], categories: dict[str, int]
) -> Iterator[dict[str, Any]]:
    known = (
        (image, annotation)
        for image, (_, annotations) in enumerate(pairs, start=1)
        for annotation in annotations
        if annotation.target in categories
    )
    for number, (image, annotation) in enumerate(known, start=1):
        score = {} if annotation.probability is None else {"score": round(annotation.probability, 6)}
        place = {"id": number, "image_id": image, "category_id": categories[annotation.target], "iscrowd": 0}
        yield {**place, **_describe_outline(annotation), **score}


def _describe_outline(annotation: Annotation) -> dict[str, Any]:
    left, top, right, bottom = annotation.polygon.bounds
    return {
        "segmentation": [_flatten(part) for part in shapely.get_parts(annotation.polygon)],
        "bbox": [round(value, 2) for value in (left, top, right - left, bottom - top)],
        "area": round(annotation.polygon.area, 2),
        "area_um2": round(annotation.area_um2, 6),
    }


def _flatten(polygon: Polygon) -> list[float]:
    """x, y, x, y … of the outline as one ring; a hundredth of a pixel is all that QuPath keeps too."""
    flat: list[float] = np.round(join_holes(polygon), 2).ravel().tolist()
    return flat

"""References of slides: the files that belong to each, and all that they say as one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from wsiparse.annotations.outlines import Polygons
from wsiparse.errors import ReferenceFileError
from wsiparse.evaluation.label_zarr import is_zarr
from wsiparse.evaluation.masks import read_instances, read_mask
from wsiparse.evaluation.names import TargetNames
from wsiparse.evaluation.outlines import read_outlines
from wsiparse.geometry import Grid, Region
from wsiparse.slides.slide import Slide

OUTLINE_SUFFIXES = (".geojson", ".geojson.gz", ".geojson.zip", ".json", ".json.gz", ".xml")
Numbers = NDArray[np.int64]
"""Pixels of a region [h, w]: the number of an object, 0 for none."""
MASK_SUFFIXES = (".png", ".ome.tif", ".ome.tiff", ".tif", ".tiff", ".webp", ".bmp", ".ome.zarr", ".zarr")


class Reference(Protocol):
    """What pathologists say about a slide, asked region by region on any grid."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was left out of it or mended in it, for people."""

    @property
    def only_frames(self) -> bool:
        """Whether it says where to compare, and names no target."""

    def covers(self, target: str) -> bool:
        """Whether it says where the target is and is not."""

    def draw(self, target: str, region: Region, grid: Grid) -> NDArray[np.bool_]:
        """Pixels [h, w] of a target that it covers."""

    def draw_ignored(self, region: Region, grid: Grid) -> NDArray[np.bool_]:
        """Pixels [h, w] that are not compared."""

    def draw_around(self, target: str, region: Region, grid: Grid) -> NDArray[np.bool_] | None:
        """Pixels [h, w] inside what is drawn coarsely around a target; None where nothing is."""

    def list_objects(self, target: str) -> Polygons | None:
        """Outlines of a target's objects in level-0 pixels; None where it does not tell objects apart."""

    def number_objects(self, target: str, region: Region, grid: Grid) -> Numbers | None:
        """A number for the pixels [h, w] of each of a target's objects; None where it does not tell objects apart."""


@dataclass(frozen=True)
class JoinedReference:
    """Several references of one slide: what any of them shows is there, what any ignores is ignored.

    One that only frames others says of no target that it is absent.
    """

    parts: tuple[Reference, ...]

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be said of any of them."""
        return tuple(remark for part in self.parts for remark in part.remarks)

    @property
    def only_frames(self) -> bool:
        """Whether none of them names a target."""
        return all(part.only_frames for part in self.parts)

    def covers(self, target: str) -> bool:
        """Whether one of them says where the target is."""
        return bool(self._find_covering(target))

    def draw(self, target: str, region: Region, grid: Grid) -> NDArray[np.bool_]:
        """Pixels [h, w] of a target in those that cover it."""
        return _unite((part.draw(target, region, grid) for part in self._find_covering(target)), region)

    def draw_ignored(self, region: Region, grid: Grid) -> NDArray[np.bool_]:
        """Pixels [h, w] that one of them ignores."""
        return _unite((part.draw_ignored(region, grid) for part in self.parts), region)

    def draw_around(self, target: str, region: Region, grid: Grid) -> NDArray[np.bool_] | None:
        """Pixels [h, w] inside what any of them drew coarsely around a target."""
        areas = [part.draw_around(target, region, grid) for part in self.parts]
        known = [area for area in areas if area is not None]
        return _unite(known, region) if known else None

    def list_objects(self, target: str) -> Polygons | None:
        """Outlines of those that cover the target, equal ones once; None where one of them shows pixels alone."""
        lists = [part.list_objects(target) for part in self._find_covering(target)]
        known = [objects for objects in lists if objects is not None]
        return _drop_repeated(known) if known and len(known) == len(lists) else None

    def number_objects(self, target: str, region: Region, grid: Grid) -> Numbers | None:
        """Numbers of the objects of those that cover the target; None where one of them shows pixels alone."""
        joined = np.zeros((region.height, region.width), np.int64)
        for part in self._find_covering(target):
            numbers = part.number_objects(target, region, grid)
            if numbers is None:
                return None
            joined = np.where(numbers > 0, numbers + joined.max(initial=0), joined)
        return joined

    def _find_covering(self, target: str) -> list[Reference]:
        naming = [part for part in self.parts if not part.only_frames]
        return [part for part in naming or self.parts if part.covers(target)]


@dataclass(frozen=True)
class ReferenceFile:
    """One file of a slide's reference."""

    path: Path
    target: str = ""
    """What a mask or an outline without class shows: a target's name, prompt or synonym; empty where the file says."""
    instances: bool = False
    """A mask whose values number the objects of its target."""


def find_references(
    directory: str | Path, slide_ids: Sequence[str], others: Mapping[str, str] = MappingProxyType({})
) -> dict[str, tuple[ReferenceFile, ...]]:
    """The files in a folder that are named after slides; slides without one are left out.

    A slide `s` has outlines `s.geojson`, `s.geojson.gz`, `s.json` or `s.xml`, a mask `s.png`, `.tif`, `.ome.tif`,
    `.webp` or `.zarr`, or a file a target, such as `s__target.png`. A .json beside a mask of the same name is the
    mask's legend. `others` are ids by other names that slides go by; an id stands above them. Raises ReferenceFileError
    where there is no such folder or no file for any slide.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise ReferenceFileError(f"{folder}: no such folder; expected reference files named after the slides")
    owners = {**{_compose(name): slide_id for name, slide_id in others.items()}, **{name: name for name in slide_ids}}
    found: dict[str, list[ReferenceFile]] = {slide_id: [] for slide_id in slide_ids}
    for file, names in _list_named(folder):
        owner, target = next(((owners[name], rest) for name, rest in _split_names(names) if name in owners), ("", ""))
        if owner:
            found[owner].append(ReferenceFile(file, target))
    if not any(found.values()):
        raise ReferenceFileError(
            f"{folder}: no reference for any of {len(slide_ids)} slides; expected files such as "
            f"{next(iter(slide_ids), '<slide>')}.geojson, .png or __<target>.png"
        )
    return {slide_id: tuple(files) for slide_id, files in found.items() if files}


def list_unused(directory: str | Path, found: Mapping[str, Sequence[ReferenceFile]]) -> list[Path]:
    """The files in a folder that could be references but are not among those that were found."""
    used = {file.path for files in found.values() for file in files}
    return [file for file, _ in _list_named(Path(directory)) if file not in used]


def read_reference(
    files: Sequence[ReferenceFile], slide: Slide, names: TargetNames, mpp: float = 0.25
) -> JoinedReference:
    """Read the files of a slide's reference; `mpp` is the finest scale at which it will be drawn.

    Raises ReferenceFileError for files that cannot be read, do not fit the slide or name what nobody knows.
    """
    return JoinedReference(tuple(_read_file(file, slide, names, mpp) for file in files))


def _read_file(file: ReferenceFile, slide: Slide, names: TargetNames, mpp: float) -> Reference:
    if _has_suffix(file.path, OUTLINE_SUFFIXES):
        return read_outlines(file.path, slide, names, file.target)
    if not _has_suffix(file.path, MASK_SUFFIXES) and not is_zarr(file.path):
        expected = " ".join((*OUTLINE_SUFFIXES, *MASK_SUFFIXES))
        raise ReferenceFileError(f"{file.path}: not a kind of reference that can be read; expected {expected}")
    read = read_instances if file.instances else read_mask
    return read(file.path, slide, mpp, names, file.target)


def _list_named(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Files that could be references, legends left out, with what each is named after, shortest first."""
    files = [file for file in sorted(folder.iterdir()) if not file.name.startswith(".")]
    named = [(file, _strip(file, (*OUTLINE_SUFFIXES, *MASK_SUFFIXES))) for file in files]
    masks = {name for file, _ in named for name in _strip(file, MASK_SUFFIXES)}
    for file, names in named:
        is_legend = file.suffix.lower() == ".json" and not masks.isdisjoint(names)
        if names and not is_legend and (file.is_file() or is_zarr(file)):
            yield file, names


def _split_names(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The slides that a file may be of, each with the target that it would be made for: the longest name first."""
    yield from ((name, "") for name in reversed(names))
    for name in names:
        for cut in reversed([match.start() for match in re.finditer("(?=__)", name)]):
            yield name[:cut], name[cut + 2 :]


def _strip(file: Path, suffixes: Iterable[str]) -> list[str]:
    """What a file is named after: `x`, shortest first, and `x.ome`, too, for `x.ome.tif`."""
    name = _compose(file.name)
    return sorted((name[: -len(suffix)] for suffix in suffixes if _has_suffix(file, (suffix,))), key=len)


def _compose(name: str) -> str:
    """A file's name with its accents in one form: macOS writes `ä` as two signs, others as one."""
    return unicodedata.normalize("NFC", name)


def _has_suffix(file: Path, suffixes: tuple[str, ...]) -> bool:
    return file.name.lower().endswith(suffixes)


def _drop_repeated(lists: Sequence[Polygons]) -> Polygons:
    """The polygons of all files: what was exported into two of them is one object."""
    joined = np.concatenate(lists)
    if len(lists) == 1:
        return joined
    _, firsts = np.unique(shapely.to_wkb(shapely.normalize(joined)), return_index=True)
    return np.asarray(joined[np.sort(firsts)])


def _unite(masks: Iterable[NDArray[np.bool_]], region: Region) -> NDArray[np.bool_]:
    return reduce(np.logical_or, masks, np.zeros((region.height, region.width), np.bool_))

"""References that are pictures: binary masks, label images and instance masks over the whole slide."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray
from rasterio import features
from shapely import MultiPolygon

from wsiparse.annotations.outlines import Polygons
from wsiparse.errors import ReferenceFileError
from wsiparse.evaluation.label_zarr import is_zarr, open_label_zarr
from wsiparse.evaluation.names import FRAME, IGNORED, OTHER, TargetNames
from wsiparse.evaluation.rasters import (
    Raster,
    Values,
    check_size,
    cut_windows,
    find_numbers,
    open_picture,
    pick_pixels,
    read_window,
)
from wsiparse.geometry import Grid, Region
from wsiparse.slides.slide import Slide


class MaskReference:
    """A picture of the whole slide at any scale; it speaks for the targets that its values name.

    A pixel of a grid takes the value under its centre.
    """

    remarks: tuple[str, ...] = ()
    """A picture is taken as it is, or refused; what may not be meant is told."""

    def __init__(self, values: Raster, meanings: Mapping[int, str], grid: Grid) -> None:
        """Take values [h, w], what each means (a target, FRAME, IGNORED or OTHER) and the slide's level 0."""
        self._values = values
        self._meanings = dict(meanings)
        self._grid = grid
        self._sampled: tuple[tuple[Region, Grid], Values] | None = None

    @property
    def only_frames(self) -> bool:
        """Whether its values mean frames, and no target."""
        return set(self._meanings.values()) <= {FRAME, IGNORED, OTHER}

    @property
    def width(self) -> int:
        """Pixels of the picture from left to right."""
        return int(self._values.shape[-1])

    def covers(self, target: str) -> bool:
        """True where a value means the target."""
        return target in self._meanings.values()

    def draw(self, target: str, region: Region, grid: Grid) -> NDArray[np.bool_]:
        """Pixels [h, w] of a target in a region of a grid."""
        codes = [value for value, meaning in self._meanings.items() if meaning == target]
        return np.isin(self._sample(region, grid), codes) if codes else _blank(region)

    def draw_ignored(self, region: Region, grid: Grid) -> NDArray[np.bool_]:
        """Pixels [h, w] that are not compared."""
        ignored = self.draw(IGNORED, region, grid)
        return ignored | ~self._draw_framed(region, grid) if self.covers(FRAME) else ignored

    def draw_around(self, target: str, region: Region, grid: Grid) -> None:
        """None: a mask says of each pixel what it is."""

    def list_objects(self, target: str) -> Polygons | None:
        """None: a mask shows pixels; objects that touch are one in it."""
        return None

    def number_objects(self, target: str, region: Region, grid: Grid) -> NDArray[np.int64] | None:
        """None, for the same reason."""
        return None

    def _draw_framed(self, region: Region, grid: Grid) -> NDArray[np.bool_]:
        # A pixel has one value: labels inside a frame lie over it, and only what has none is outside.
        if self._meanings.get(0, OTHER) != OTHER:
            return ~_blank(region)
        return np.asarray(self._sample(region, grid) != 0)

    def _sample(self, region: Region, grid: Grid) -> Values:
        # One region is asked for target after target, and may have to be read from disk.
        if self._sampled is None or self._sampled[0] != (region, grid):
            self._sampled = (region, grid), self._pick(region, grid)
        return self._sampled[1]

    def _pick(self, region: Region, grid: Grid) -> Values:
        (height, width), (down, right) = self._values.shape[-2:], self._ratios
        scale = self._grid.scale_to(grid)
        # A mask of the grid's own size was made on that grid, whose last pixel may lie partly over the slide's edge.
        columns = _locate(region.x, region.width, width, 1.0 if width == grid.width else 1 / (right * scale))
        rows = _locate(region.y, region.height, height, 1.0 if height == grid.height else 1 / (down * scale))
        return pick_pixels(self._values, rows, columns)

    @property
    def _ratios(self) -> tuple[float, float]:
        """Level-0 pixels for each pixel of the mask, from top to bottom and from left to right."""
        height, width = self._values.shape[-2:]
        return _find_ratio(self._grid.height, height), _find_ratio(self._grid.width, width)


class InstanceReference(MaskReference):
    """A picture of the whole slide that numbers the objects of one target; 0 is none of them."""

    def __init__(self, values: Raster, target: str, grid: Grid) -> None:
        """Take numbers [h, w], the target that they show and the slide's level 0."""
        super().__init__(values, {1: target}, grid)

    def draw(self, target: str, region: Region, grid: Grid) -> NDArray[np.bool_]:
        """Pixels [h, w] of all objects in a region of a grid."""
        return np.asarray(self._sample(region, grid) != 0) if self.covers(target) else _blank(region)

    def list_objects(self, target: str) -> Polygons | None:
        """Outlines along the mask's pixel edges, in level-0 pixels; pixels of one number are one object."""
        if not self.covers(target):
            return np.empty(0, object)
        ratios = np.array(self._ratios[::-1])
        return np.asarray(shapely.transform(trace_numbers(self._values), lambda points: points * ratios))

    def number_objects(self, target: str, region: Region, grid: Grid) -> NDArray[np.int64] | None:
        """The mask's numbers [h, w] in a region of a grid."""
        shown = self._sample(region, grid) if self.covers(target) else _blank(region)
        return np.asarray(shown, np.int64)


def trace_numbers(values: Raster) -> Polygons:
    """Outline the pixels of each number but 0 along their edges [objects]; parts that do not touch stay one object."""
    windows = cut_windows(values)
    traced = [_trace_window(read_window(values, window), window) for window in windows]
    numbers = np.concatenate([numbers for numbers, _ in traced])
    polygons = np.concatenate([polygons for _, polygons in traced])
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=1 << 40))
    parts = np.split(polygons[order], starts[1:]) if len(starts) else []
    objects = np.empty(len(parts), object)
    objects[:] = [_join_parts(part, len(windows) > 1) for part in parts]
    return objects


def _trace_window(values: Values, window: Region) -> tuple[NDArray[np.int64], Polygons]:
    """Number and outline of each connected part."""
    # Where numbers are too large for the rasteriser they wrap around, and still tell objects apart.
    shapes = list(features.shapes(values.astype(np.int32), mask=values != 0, connectivity=4))
    polygons = np.array([shapely.geometry.shape(geometry) for geometry, _ in shapes], object)
    corner = np.array([window.x, window.y])
    moved = shapely.transform(polygons, lambda points: points + corner)
    return np.array([number for _, number in shapes], np.int64), np.asarray(moved, object)


def _join_parts(parts: Polygons, were_cut: bool) -> shapely.Geometry:
    if len(parts) == 1:
        return parts[0]
    return shapely.union_all(parts) if were_cut else MultiPolygon(parts.tolist())


def read_mask(path: Path, slide: Slide, mpp: float, names: TargetNames, named: str = "") -> MaskReference:
    """Read a binary mask of the target `named`, or a label image where a sidecar .json {value: target} lies beside.

    Where it is named and has more values, the sidecar tells them. A Zarr label image may bring that legend itself. Of a
    pyramid, the coarsest level that is at least as fine as `mpp` is read. Raises ReferenceFileError for another shape
    than the slide's, for values without a meaning and for files that cannot be read.
    """
    values, legend = _open(path, slide, mpp)
    found = find_numbers(path, values)
    sidecar = _name_legend(path)
    is_explained = sidecar.exists() and not (named and _is_binary(found))
    if not is_explained and (named or not legend):
        target = names.resolve_file(named, path)
        return MaskReference(values, dict.fromkeys(_check_binary(path, found), target), slide.grid)
    source, legend = (sidecar, _read_sidecar(sidecar)) if is_explained else (path, legend)
    meanings = _resolve_legend(path, source, legend, found, names)
    if named and names.resolve_file(named, path) not in meanings.values():
        raise ReferenceFileError(f"{path}: named after {named!r}, of which {source.name} has no value; correct either")
    return MaskReference(values, meanings, slide.grid)


def read_instances(path: Path, slide: Slide, mpp: float, names: TargetNames, named: str = "") -> InstanceReference:
    """Read a mask that numbers the objects of one target: whatever is above 0 belongs to it.

    Raises ReferenceFileError as `read_mask`, and for numbers below 0, which some programs give to what they leave out.
    """
    values, _ = _open(path, slide, mpp)
    found = find_numbers(path, values)  # of one on disk, each part must be readable before anything is said of it
    if found[0] < 0:
        raise ReferenceFileError(
            f"{path}: number {found[0]}, expected those of objects and 0 for none; write 0 where nothing is"
        )
    reference = InstanceReference(values, names.resolve_file(named, path), slide.grid)
    if _is_binary(found) and found[-1] > 0:
        reference.remarks = (f"all that is {found[-1]} taken for one object, as the mask is said to number them",)
    return reference


def _open(path: Path, slide: Slide, mpp: float) -> tuple[Raster, dict[int, str]]:
    values, legend = open_label_zarr(path, slide, mpp) if is_zarr(path) else (open_picture(path, slide, mpp), {})
    check_size(path, values, slide.grid)
    return values, legend


def _find_ratio(full: int, size: int) -> float:
    """Level-0 pixels for each pixel of a mask, whose last one may lie partly over the slide's edge."""
    whole = round(full / size)
    return float(whole) if whole and -(-full // whole) == size else full / size


def _locate(start: int, count: int, size: int, ratio: float) -> NDArray[np.int64]:
    """The mask's pixel, of `size`, under the centre of each of `count` pixels of a grid, `ratio` times as large."""
    places: NDArray[np.int64] = np.floor((np.arange(start, start + count) + 0.5) * ratio).astype(np.int64)
    places[places >= size] = size - 1
    return places


def _check_binary(path: Path, found: Values) -> tuple[int, ...]:
    """What stands for the target in a mask of these values."""
    if not _is_binary(found):
        raise ReferenceFileError(
            f"{path}: values {found[:6].tolist()}{' …' if len(found) > 6 else ''}, expected 0 and 255 or 0 and 1; add "
            f"{path.stem}.json {{value: target}}, or say that the values are instances"
        )
    return (1, 255)


def _is_binary(found: Values) -> bool:
    return bool(len(found) <= 2 and (len(found) == 1 or found[0] == 0) and found[-1] in (0, 1, 255))


def _name_legend(path: Path) -> Path:
    """The .json beside a mask: of `x.ome.tif` it is `x.ome.json` or `x.json`."""
    legend = path.with_suffix(".json")
    return legend if legend.exists() else legend.with_name(legend.name.replace(".ome.json", ".json"))


def _resolve_legend(
    path: Path, source: Path, legend: Mapping[int, str], found: Values, names: TargetNames
) -> dict[int, str]:
    missing = sorted(set(found.tolist()) - set(legend) - {0})
    if missing:
        raise ReferenceFileError(f"{path}: values {missing[:6]} are not in {source.name}; add what they mean")
    meanings = names.resolve_all((name for name in legend.values() if name), source)
    return {value: meanings.get(name, OTHER) for value, name in legend.items()}


def _read_sidecar(sidecar: Path) -> dict[int, str]:
    try:
        table = orjson.loads(sidecar.read_text(encoding="utf-8-sig"))  # editors on Windows add a byte order mark
        return {int(value): str(name) for value, name in table.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ReferenceFileError(f"{sidecar}: {error}; expected an object {{value: target}}") from error


def _blank(region: Region) -> NDArray[np.bool_]:
    return np.zeros((region.height, region.width), np.bool_)

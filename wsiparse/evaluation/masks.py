"""References that are pictures: binary masks, label images and instance masks over the whole slide."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import shapely
import tifffile
from numpy.typing import NDArray
from PIL import Image
from rasterio import features
from shapely import MultiPolygon

from wsiparse.annotations.outlines import Polygons
from wsiparse.errors import ReferenceFileError
from wsiparse.evaluation.names import FRAME, IGNORED, OTHER, TargetNames
from wsiparse.geometry import Grid, Region
from wsiparse.slides.slide import Slide

Values = NDArray[Any]
"""Whole numbers of a mask [h, w]."""

_UNREADABLE = "expected a PNG, TIFF, WebP or BMP image; export it again"


class MaskReference:
    """A picture of the whole slide at any scale; it speaks for the targets that its values name.

    A pixel of a grid takes the value under its centre.
    """

    def __init__(self, values: Values, meanings: Mapping[int, str], grid: Grid) -> None:
        """Take values [h, w], what each means (a target, FRAME, IGNORED or OTHER) and the slide's level 0."""
        self._values = values
        self._meanings = dict(meanings)
        self._grid = grid

    @property
    def width(self) -> int:
        """Pixels of the picture from left to right."""
        return int(self._values.shape[1])

    def covers(self, target: str) -> bool:
        """True where a value means the target."""
        return target in self._meanings.values()

    def draw(self, target: str, region: Region, grid: Grid) -> NDArray[np.bool_]:
        """Pixels [h, w] of a target in a region of a grid."""
        codes = [value for value, meaning in self._meanings.items() if meaning == target]
        return np.isin(self._sample(region, grid), codes)

    def draw_ignored(self, region: Region, grid: Grid) -> NDArray[np.bool_]:
        """Pixels [h, w] that are not compared."""
        ignored = self.draw(IGNORED, region, grid)
        return ignored | ~self.draw(FRAME, region, grid) if self.covers(FRAME) else ignored

    def draw_around(self, target: str, region: Region, grid: Grid) -> None:
        """None: a mask says of each pixel what it is."""

    def list_objects(self, target: str) -> Polygons | None:
        """None: a mask shows pixels; objects that touch are one in it."""
        return None

    def _sample(self, region: Region, grid: Grid) -> Values:
        height, width = self._values.shape
        scale = self._grid.scale_to(grid)
        columns = _locate(region.x, region.width, width, (grid.width, self._grid.width * scale))
        rows = _locate(region.y, region.height, height, (grid.height, self._grid.height * scale))
        return self._values[np.ix_(rows, columns)]


class InstanceReference(MaskReference):
    """A picture of the whole slide that numbers the objects of one target; 0 is none of them."""

    def __init__(self, values: Values, target: str, grid: Grid) -> None:
        """Take numbers [h, w], the target that they show and the slide's level 0."""
        super().__init__(values, {1: target}, grid)

    def draw(self, target: str, region: Region, grid: Grid) -> NDArray[np.bool_]:
        """Pixels [h, w] of all objects in a region of a grid."""
        return np.asarray((self._sample(region, grid) != 0) & self.covers(target))

    def list_objects(self, target: str) -> Polygons | None:
        """Outlines along the mask's pixel edges, in level-0 pixels; pixels of one number are one object."""
        if not self.covers(target):
            return np.empty(0, object)
        height, width = self._values.shape
        ratios = np.array([_find_ratio(self._grid.width, width), _find_ratio(self._grid.height, height)])
        return np.asarray(shapely.transform(trace_numbers(self._values), lambda points: points * ratios))


def trace_numbers(values: Values) -> Polygons:
    """Outline the pixels of each number but 0 along their edges [objects]; parts that do not touch stay one object."""
    # Where numbers are too large for the rasteriser they wrap around, and still tell objects apart.
    shapes = list(features.shapes(values.astype(np.int32), mask=values != 0, connectivity=4))
    numbers = np.array([number for _, number in shapes], np.int64)
    polygons = np.array([shapely.geometry.shape(geometry) for geometry, _ in shapes], object)
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.diff(numbers[order], prepend=1 << 40))
    parts = np.split(polygons[order], starts[1:]) if len(starts) else []
    objects = np.empty(len(parts), object)
    objects[:] = [part[0] if len(part) == 1 else MultiPolygon(part.tolist()) for part in parts]
    return objects


def read_mask(path: Path, slide: Slide, mpp: float, names: TargetNames, named: str = "") -> MaskReference:
    """Read a binary mask of the target `named`, or a label image where a sidecar .json {value: target} lies beside.

    Of a pyramidal TIFF, the coarsest level that is at least as fine as `mpp` is read. Raises ReferenceFileError for
    another shape than the slide's, for values without a meaning and for files that cannot be read.
    """
    values = _read_values(path, slide, mpp)
    sidecar = path.with_suffix(".json")
    if sidecar.exists() and not named:
        return MaskReference(values, _read_meanings(path, sidecar, values, names), slide.grid)
    _check_binary(path, values)
    return MaskReference(values != 0, {1: names.resolve_file(named, path)}, slide.grid)


def read_instances(path: Path, slide: Slide, mpp: float, names: TargetNames, named: str = "") -> InstanceReference:
    """Read a mask that numbers the objects of one target: whatever is not 0 belongs to it."""
    return InstanceReference(_read_values(path, slide, mpp), names.resolve_file(named, path), slide.grid)


def _find_ratio(full: int, size: int) -> float:
    """Level-0 pixels for each pixel of a mask, whose last one may lie partly over the slide's edge."""
    whole = round(full / size)
    return float(whole) if whole and -(-full // whole) == size else full / size


def _locate(start: int, count: int, size: int, extents: tuple[int, float]) -> NDArray[np.int64]:
    """The mask's pixel under the centre of each of `count` pixels of a grid that has `extents`, whole and exact."""
    whole, exact = extents
    # A mask of the grid's own size was made on that grid, whose last pixel may lie partly over the slide's edge.
    ratio = 1.0 if size == whole else size / exact
    places: NDArray[np.int64] = np.floor((np.arange(start, start + count) + 0.5) * ratio).astype(np.int64)
    places[places >= size] = size - 1
    return places


def _read_values(path: Path, slide: Slide, mpp: float) -> Values:
    values = _read_tiff(path, slide, mpp) if path.suffix.lower() in (".tif", ".tiff") else _read_picture(path)
    values = _drop_channels(path, values)
    _check_size(path, values.shape, slide.grid)
    return values


def _read_tiff(path: Path, slide: Slide, mpp: float) -> Values:
    try:
        with tifffile.TiffFile(path) as file:
            levels = file.series[0].levels
            needed = slide.grid.width * slide.mpp / mpp
            fitting = [level for level in levels if level.sizes["width"] >= needed]
            return np.asarray((fitting or levels[:1])[-1].asarray())
    except (OSError, ValueError, IndexError, KeyError, tifffile.TiffFileError) as error:
        raise ReferenceFileError(f"{path}: {error}; {_UNREADABLE}") from error


def _read_picture(path: Path) -> Values:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return np.asarray(image)
    except Image.DecompressionBombError as error:
        raise ReferenceFileError(f"{path}: too large a picture ({error}); convert it to a pyramidal TIFF") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise ReferenceFileError(f"{path}: {error}; {_UNREADABLE}") from error


def _drop_channels(path: Path, values: Values) -> Values:
    """One channel of a grey picture that was stored as RGB, with or without alpha."""
    if values.ndim == 3 and values.shape[-1] in (2, 4):
        values = values[..., :-1]
    grey = values[..., 0] if values.ndim == 3 else values
    if grey.ndim != 2 or grey.dtype.kind not in "bui" or (values.ndim == 3 and (values != grey[..., None]).any()):
        raise ReferenceFileError(
            f"{path}: {values.dtype} values {values.shape} in colours or fractions, expected one channel of whole "
            "numbers; export the mask, not a picture of it"
        )
    return grey


def _check_size(path: Path, shape: tuple[int, ...], grid: Grid) -> None:
    height, width = shape
    by_width, by_height = grid.height * width / grid.width, grid.width * height / grid.height
    if abs(height - by_width) > 1 and abs(width - by_height) > 1:
        raise ReferenceFileError(
            f"{path}: mask of {width} × {height} pixels for a slide of {grid.width} × {grid.height}; expected the same "
            "shape at any scale, to within a pixel"
        )


def _check_binary(path: Path, values: Values) -> None:
    found = np.unique(values)
    if len(found) > 2 or (len(found) == 2 and found[0] != 0) or found[-1] not in (0, 1, 255):
        raise ReferenceFileError(
            f"{path}: values {found[:6].tolist()}{' …' if len(found) > 6 else ''}, expected 0 and 255 or 0 and 1; add "
            f"{path.stem}.json {{value: target}}, or say that the values are instances"
        )


def _read_meanings(path: Path, sidecar: Path, values: Values, names: TargetNames) -> dict[int, str]:
    table = _read_sidecar(sidecar)
    missing = sorted(set(np.unique(values).tolist()) - set(table) - {0})
    if missing:
        raise ReferenceFileError(f"{path}: values {missing[:6]} are not in {sidecar.name}; add what they mean")
    meanings = names.resolve_all((name for name in table.values() if name), sidecar)
    return {value: meanings.get(name, OTHER) for value, name in table.items()}


def _read_sidecar(sidecar: Path) -> dict[int, str]:
    try:
        table = orjson.loads(sidecar.read_bytes())
        return {int(value): str(name) for value, name in table.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ReferenceFileError(f"{sidecar}: {error}; expected an object {{value: target}}") from error

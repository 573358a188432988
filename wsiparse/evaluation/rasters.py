"""Pictures of whole numbers over a slide: small ones in memory, large ones read where they are asked for."""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

from wsiparse.errors import ReferenceFileError
from wsiparse.geometry import Grid, Region
from wsiparse.slides.levels import cut_region
from wsiparse.slides.slide import Slide

Values = NDArray[Any]
"""Whole numbers [h, w]."""
Raster: TypeAlias = NDArray[Any] | zarr.Array[Any]
"""A picture in memory [h, w], or one on disk [..., h, w], whose other axes have one place each."""
Places = NDArray[np.int64]

SIDE = 4096
"""Side of the squares in which a picture on disk is read as a whole."""
IN_MEMORY = SIDE**2 * 4
"""Pixels up to which a TIFF is read at once."""
CHECKED, CHECKS = 256, 16
"""Side of the squares in which a coarser level is held against the finest, and how many of them that show an edge."""
UNREADABLE = "expected a PNG, TIFF, WebP or BMP image; export it again"
_FAULTS = (OSError, ValueError, IndexError, KeyError, RuntimeError, tifffile.TiffFileError)

_Level = TypeVar("_Level")


def open_picture(path: Path, slide: Slide, mpp: float) -> Raster:
    """A mask of a slide from a picture; of a pyramidal TIFF the coarsest level that is at least as fine as `mpp`.

    Where its pixels are means of finer ones, it is the finest level. Raises ReferenceFileError for a file that cannot
    be read, for colours and fractions.
    """
    if not _is_tiff(path):
        return _take_grey(path, _decode(path))
    try:
        return _open_tiff(path, slide, mpp)
    except _FAULTS as error:
        raise ReferenceFileError(f"{path}: {error}; {UNREADABLE}") from error


def read_picture(path: Path) -> Values:
    """A mask as a whole, as `open_picture` reads it, of a pyramid the finest level; or colours [h, w, 3].

    Raises ReferenceFileError for a file that cannot be read and for fractions.
    """
    if not _is_tiff(path):
        return _take_whole(path, _decode(path))
    try:
        with tifffile.TiffFile(path) as file:
            return _take_whole(path, _read_level(path, file.series[0].levels[0]))
    except _FAULTS as error:
        raise ReferenceFileError(f"{path}: {error}; {UNREADABLE}") from error


def choose_level(levels: Sequence[tuple[int, _Level]], slide: Slide, mpp: float) -> _Level:
    """Of levels with their widths, finest first, the coarsest that is at least as fine as `mpp`."""
    needed = slide.grid.width * slide.mpp / mpp
    fitting = [level for width, level in levels if width >= needed]
    return fitting[-1] if fitting else levels[0][1]


def keeps_values(coarse: Raster, finest: Raster) -> bool:
    """Whether a level of a pyramid shows pixels of the finest one, as far as some squares tell.

    Programs that make pyramids of pictures average their pixels: of two numbers that makes a third.
    """
    (height, width), full = coarse.shape[-2:], finest.shape[-1]
    ratio = max(round(full / width), 1)
    if abs(full - width * ratio) >= ratio:
        return False
    squares = cut_region(Region(0, 0, width, height), (CHECKED, CHECKED))
    shown = ((square, read_window(coarse, square)) for square in squares)
    mixed = ((square, values) for square, values in shown if values.min() < values.max())
    return all(_is_picked(values, square, finest, ratio) for square, values in islice(mixed, CHECKS))


def _is_picked(values: Values, square: Region, finest: Raster, ratio: int) -> bool:
    """Whether each pixel of a square has the value of one of those of the finest level that it stands for."""
    height, width = finest.shape[-2:]
    area = Region(square.x * ratio, square.y * ratio, square.width * ratio, square.height * ratio)
    fine = read_window(finest, area.intersect(Region(0, 0, width, height)))
    rows, columns = fine.shape[0] // ratio, fine.shape[1] // ratio
    blocks = fine[: rows * ratio, : columns * ratio].reshape(rows, ratio, columns, ratio)
    return bool((blocks == values[:rows, None, :columns, None]).any(axis=(1, 3)).all())


def pick_pixels(raster: Raster, rows: Places, columns: Places) -> Values:
    """The pixels [rows, columns] where each of some rows meets each of some columns."""
    if isinstance(raster, np.ndarray):
        return raster[np.ix_(rows, columns)]
    return np.asarray(raster.oindex[(*(0,) * (raster.ndim - 2), rows, columns)])


def read_window(raster: Raster, region: Region) -> Values:
    """The pixels of a region [h, w]."""
    return np.asarray(raster[(..., *region.slices)]).reshape(region.height, region.width)


def find_numbers(path: Path, raster: Raster) -> Values:
    """All numbers of a picture, in their order; ReferenceFileError where a part of it cannot be read."""
    try:
        parts = [np.unique(read_window(raster, window)) for window in cut_windows(raster)]
    except _FAULTS as error:
        raise ReferenceFileError(f"{path}: {error}; expected a whole picture; export it again") from error
    return np.unique(np.concatenate(parts))


def cut_windows(raster: Raster) -> list[Region]:
    """Squares that make up a picture."""
    height, width = raster.shape[-2:]
    return list(cut_region(Region(0, 0, width, height), (SIDE, SIDE)))


def check_size(path: Path, raster: Raster, grid: Grid) -> None:
    """Refuse a picture of another shape than the slide's."""
    height, width = raster.shape[-2:]
    by_width, by_height = grid.height * width / grid.width, grid.width * height / grid.height
    if abs(height - by_width) > 1 and abs(width - by_height) > 1:
        raise ReferenceFileError(
            f"{path}: mask of {width} × {height} pixels for a slide of {grid.width} × {grid.height}; expected the same "
            "shape at any scale, to within a pixel"
        )


def _is_tiff(path: Path) -> bool:
    return path.suffix.lower() in (".tif", ".tiff")


def _open_tiff(path: Path, slide: Slide, mpp: float) -> Raster:
    with ExitStack() as stack:
        file = stack.enter_context(tifffile.TiffFile(path))
        levels = file.series[0].levels
        level = choose_level([(level.sizes["width"], level) for level in levels], slide, mpp)
        if level.ndim == 2 and level is not levels[0] and not keeps_values(_look_into(level), _look_into(levels[0])):
            level = levels[0]
        if level.size <= IN_MEMORY or level.ndim != 2 or level.dtype.kind not in "bui" or _is_recoded(level.keyframe):
            return _take_grey(path, _read_level(path, level))
        raster = zarr.open_array(level.aszarr(level=0), mode="r")
        weakref.finalize(raster, stack.pop_all().close)  # the file stays open as long as it is read from
        return raster


def _look_into(level: tifffile.TiffPageSeries) -> Raster:
    """The stored pixels of a level, for as long as its file is open."""
    return np.asarray(level.asarray()) if level.size <= IN_MEMORY else zarr.open_array(level.aszarr(level=0), mode="r")


def _read_level(path: Path, level: tifffile.TiffPageSeries) -> Values:
    """The pixels of a level, such that 0 is black and channels come last."""
    _refuse_several(path, level)
    values, page = np.asarray(level.asarray()), level.keyframe
    if "S" in level.axes:
        values = np.moveaxis(values, level.axes.index("S"), -1)
    if _is_negative(page) and values.dtype.kind in "bu":
        values = values ^ values.dtype.type((1 << page.bitspersample) - 1)
    return values if page.colormap is None else _name_colors(values, page.colormap.T)


def _refuse_several(path: Path, level: tifffile.TiffPageSeries) -> None:
    sizes = zip(level.axes, level.shape, strict=True)
    pages = math.prod(size for axis, size in sizes if axis not in "YXS")
    if pages > 1:
        raise ReferenceFileError(
            f"{path}: {pages} pages or channels of one size, expected a single one; write a file for each target, such "
            "as <slide>__<target>.tif"
        )


def _is_recoded(page: tifffile.TiffPage) -> bool:
    """Whether stored values may mean others: 0 is white, or the first colour of a palette is not black."""
    return _is_negative(page) or (page.colormap is not None and bool(page.colormap[:, 0].any()))


def _is_negative(page: tifffile.TiffPage) -> bool:
    """Whether 0 is white and thus outside.

    Not of what tifffile itself made of True and False, for it says so and stores True as 1, nor of ImageJ's masks, in
    which 255 is inside and only shown as black.
    """
    own = page.bitspersample == 1 and page.software.startswith("tifffile")
    return bool(page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and not own and not page.is_imagej)


def _decode(path: Path) -> Values:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                values = np.asarray(image)
                palette = image.getpalette("RGB") if image.mode == "P" else None
    except Image.DecompressionBombError as error:
        raise ReferenceFileError(f"{path}: too large a picture ({error}); convert it to a pyramidal TIFF") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise ReferenceFileError(f"{path}: {error}; {UNREADABLE}") from error
    return values if palette is None else _name_colors(values, np.reshape(palette, (-1, 3)))


def _name_colors(places: Values, palette: Values) -> Values:
    """Places [h, w] in a palette [n, 3], as label images number classes; 0 and 1 where they are black and one other.

    Programs that reduce a mask to its two colours put them in any order, and black is none of it where it is alone.
    """
    used = np.unique(places)
    black = [place for place in used if place < len(palette) and not palette[place].any()]
    is_mask = len(used) <= 2 and len(black) == 1 and black != [0]
    return np.asarray(places != black[0], np.uint8) if is_mask else places


def _take_grey(path: Path, values: Values) -> Values:
    """One channel of a grey picture; colours are refused."""
    grey = _take_whole(path, values)
    if grey.ndim != 2:
        raise _refuse(path, grey)
    return grey


def _take_whole(path: Path, values: Values) -> Values:
    """Whole numbers without alpha, which must say nothing; one channel of a grey picture that was stored as RGB."""
    if values.ndim == 3 and values.shape[-1] in (2, 4):
        values, alpha = values[..., :-1], values[..., -1]
        if alpha.size and alpha.min() < alpha.max():
            raise ReferenceFileError(
                f"{path}: parts of the picture are transparent, expected a mask that is opaque; flatten it, so that "
                "what is outside becomes black"
            )
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    if values.dtype.kind not in "bui":
        raise _refuse(path, values)
    return values


def _refuse(path: Path, values: Values) -> ReferenceFileError:
    return ReferenceFileError(
        f"{path}: {values.dtype} values {values.shape} in colours or fractions, expected one channel of whole numbers; "
        "export the mask, not a picture of it"
    )

"""What the directories of a TIFF file say about its stored tiles."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from wsiparse.errors import SlideError
from wsiparse.geometry import Region
from wsiparse.slides.levels import Size
from wsiparse.slides.ome import read_ome_pixels
from wsiparse.slides.slide import Pixels

_CODECS = {
    1: "none",
    5: "lzw",
    7: "jpeg",
    8: "deflate",
    32946: "deflate",
    33003: "jpeg2000",
    33005: "jpeg2000",
    34712: "jpeg2000",
}
_JPEG = 7
# What tifffile meets in damaged directories: values of other types, lengths and meanings than the format has.
_DAMAGE = (
    *(tifffile.TiffFileError, struct.error, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, OSError),
)
_DERIVED = 1 | 4
"""Bits of a page's subfile type: a smaller version, a mask of what is transparent."""
_YCBCR = 6
_COLORSPACES = {2: "RGB", _YCBCR: "YCBCR"}
_PLAIN_SAMPLES = {1: (1,), 2: (3, 4)}
"""Numbers a pixel where black is 0, and where colours are RGB."""
_PLAIN_CODECS = (1, 5, _JPEG, 8, 32773, 32946, 33005, 50000)
"""Codecs that OpenSlide and tifffile read alike: none, LZW, deflate, PackBits, Aperio's JPEG 2000 in RGB, Zstd."""
_SAMPLES = (1, 3, 4)
"""Numbers a pixel: grey, three colours, or RGBA and CMYK; others are channels of a fluorescence scanner."""

MAX_TILE_PIXELS = 1 << 26
"""Stored tiles have 128 to 4096 pixels a side."""


@dataclass(frozen=True, eq=False)
class TiledLevel:
    """Where the tiles of one level lie in the file."""

    size: Size
    tile: Size
    offsets: NDArray[np.int64]
    """First byte of each tile, row by row."""
    counts: NDArray[np.int64]
    """Bytes of each tile; all above 0."""

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.size[0] // self.tile[0])

    def index_at(self, part: Region) -> int:
        """The tile that holds a part's upper left pixel."""
        return part.y // self.tile[1] * self.columns + part.x // self.tile[0]


@dataclass(frozen=True, eq=False)
class JpegLevel(TiledLevel):
    """A level of JPEG tiles in colour."""

    tables: bytes | None
    """Quantisation and Huffman tables shared by the tiles, where they are not in the tiles themselves."""
    colorspace: str
    """Meaning of the stored colours, `RGB` or `YCBCR`; Aperio's JPEG tiles do not say it themselves."""


@dataclass(frozen=True, eq=False)
class PlainLevel(TiledLevel):
    """A level whose tiles, however compressed, decode to 8 bits of grey, RGB or RGBA."""

    is_jpeg: bool
    """Whether the tiles are JPEG streams."""
    decoder: Callable[..., tuple[NDArray[Any] | None, Any, Any]]
    """tifffile's: of a tile's bytes and index the pixels, uint8 [1, h, w, s], and where they lie."""

    def decode(self, data: bytes, index: int) -> Pixels | None:
        """A tile, uint8 [tile, tile, 1, 3 or 4], or what of it is inside the level; None where it is damaged."""
        try:
            volume = self.decoder(data, index)[0]
        except (*_DAMAGE, RuntimeError):
            return None
        return None if volume is None else volume[0]


def read_codec(path: Path) -> str:
    """Compression of a TIFF's first directory; empty where the file is no TIFF."""
    with suppress(*_DAMAGE), tifffile.TiffFile(path) as file:
        codec = int(file.pages[0].compression)
        return _CODECS.get(codec, f"tiff-{codec}")
    return ""


def check_directories(path: Path) -> None:
    """Raise SlideError where tiles of a TIFF lie beyond the file's end, or hold what no brightfield scanner writes.

    OpenSlide believes every size and ends the process where it cannot have the memory; deep pixels it shows as if 16
    bits were used, and so nearly black. What tifffile cannot read is left to OpenSlide.
    """
    length = path.stat().st_size
    with suppress(*_DAMAGE), tifffile.TiffFile(path) as file:
        pages = _list_pages(file)
        for page in pages:
            if page.is_tiled:
                _check_tiles(path, page)
            ends = np.add(page.dataoffsets, page.databytecounts, dtype=np.int64)
            if ends.size and ends.max() > length:
                raise SlideError(
                    f"{path}: truncated at {length} bytes, its pixels go on to byte {ends.max()}; copy the file again"
                )
        _check_channels(path, pages)


def check_channels(path: Path) -> None:
    """Raise SlideError where the pages of a TIFF are the channels of one image: a reader would show the first as grey.

    What tifffile cannot read is left to others.
    """
    with suppress(*_DAMAGE), tifffile.TiffFile(path) as file:
        _check_channels(path, _list_pages(file))


def check_pages(path: Path) -> None:
    """Raise SlideError where the first page of a TIFF is not the one image in it: it is what a reader would show.

    Other pages of its size are planes or moments, a larger one is what a thumbnail stands before. What tifffile cannot
    read is left to others.
    """
    with suppress(*_DAMAGE), tifffile.TiffFile(path) as file:
        first, *others = (page for page in _list_pages(file) if not page.subfiletype & _DERIVED)
        if twin := next((page for page in others if page.shape == first.shape or _area(page) > _area(first)), None):
            raise SlideError(
                f"{path}: a page of {twin.imagewidth} × {twin.imagelength} pixels behind a first one of "
                f"{first.imagewidth} × {first.imagelength}, expected one image, the largest; save that page alone"
            )


def _area(page: tifffile.TiffPage) -> int:
    return int(page.imagewidth) * int(page.imagelength)


def _check_channels(path: Path, pages: Sequence[tifffile.TiffPage]) -> None:
    first = pages[0]
    grey = [page for page in pages if page.samplesperpixel == 1 and not page.subfiletype & _DERIVED]
    alike = [page for page in grey if page.shape == first.shape]
    stated = read_ome_pixels(first.description, str(first.imagewidth), str(first.imagelength))
    channels = max([len(alike), *(int(pixels.get("SizeC", "1")) for pixels in stated)])
    if channels > first.samplesperpixel:
        raise SlideError(
            f"{path}: {channels} channels or planes in pages of their own, expected one page of grey or of all "
            "colours; convert it to 8-bit RGB"
        )


def _check_tiles(path: Path, page: tifffile.TiffPage) -> None:
    if page.tilewidth * page.tilelength > MAX_TILE_PIXELS:
        raise SlideError(
            f"{path}: damaged, it states tiles of {page.tilewidth} × {page.tilelength} pixels; copy it again"
        )
    if page.bitspersample > 8 or page.samplesperpixel not in _SAMPLES:
        raise SlideError(
            f"{path}: {page.samplesperpixel} × {page.bitspersample} bits a pixel, expected 8 bits for grey or for each "
            "colour; convert it to 8-bit RGB"
        )


def read_jpeg_levels(path: Path, sizes: Sequence[Size]) -> tuple[JpegLevel, ...]:
    """The tiled JPEG levels of these sizes; empty where any of them is stored in another way."""
    with suppress(*_DAMAGE), tifffile.TiffFile(path) as file:
        pages = [_find_page(file, size) for size in sizes]
        levels = [_jpeg_level(page) for page in pages if page and _is_plain_jpeg(page)]
        return tuple(levels) if len(levels) == len(sizes) else ()
    return ()


def read_plain_levels(path: Path, sizes: Sequence[Size]) -> tuple[PlainLevel | None, ...]:
    """The tiled levels of these sizes, None where one is stored in a way that is for OpenSlide to understand."""
    with suppress(*_DAMAGE), tifffile.TiffFile(path) as file:
        pages = [_find_page(file, size) for size in sizes]
        return tuple(_plain_level(page) if page and _is_plain(page) else None for page in pages)
    return (None,) * len(sizes)


def _list_pages(file: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    return [page for page in file.pages if isinstance(page, tifffile.TiffPage)]


def _find_page(file: tifffile.TiffFile, size: Size) -> tifffile.TiffPage | None:
    """The tiled directory of a size; None where there are two, which cannot be told apart, or tiles are missing."""
    fitting = [page for page in _list_pages(file) if page.is_tiled and (page.imagewidth, page.imagelength) == size]
    # A missing tile is for OpenSlide to make up.
    return fitting[0] if len(fitting) == 1 and _is_complete(fitting[0]) else None


def _is_complete(page: tifffile.TiffPage) -> bool:
    tiles = -(-page.imagewidth // page.tilewidth) * -(-page.imagelength // page.tilelength)
    return len(page.dataoffsets) == len(page.databytecounts) == tiles and min(page.databytecounts) > 0


def _is_plain_jpeg(page: tifffile.TiffPage) -> bool:
    return (
        int(page.compression) == _JPEG
        and int(page.photometric) in _COLORSPACES
        and (page.samplesperpixel, page.bitspersample, int(page.planarconfig), page.tiledepth) == (3, 8, 1, 1)
    )


def _is_plain(page: tifffile.TiffPage) -> bool:
    meaning = int(page.photometric)
    colours = _is_plain_jpeg(page) if meaning == _YCBCR else page.samplesperpixel in _PLAIN_SAMPLES.get(meaning, ())
    stored = (page.bitspersample, int(page.sampleformat), int(page.planarconfig), page.tiledepth)
    return colours and int(page.compression) in _PLAIN_CODECS and stored == (8, 1, 1, 1)


def _jpeg_level(page: tifffile.TiffPage) -> JpegLevel:
    return JpegLevel(**_place_tiles(page), tables=page.jpegtables, colorspace=_COLORSPACES[int(page.photometric)])


def _plain_level(page: tifffile.TiffPage) -> PlainLevel:
    # Made now, for tifffile looks into the file for it.
    decoder = functools.partial(page.decode, jpegtables=page.jpegtables)
    return PlainLevel(**_place_tiles(page), is_jpeg=int(page.compression) == _JPEG, decoder=decoder)


def _place_tiles(page: tifffile.TiffPage) -> dict[str, Any]:
    return {
        "size": (page.imagewidth, page.imagelength),
        "tile": (page.tilewidth, page.tilelength),
        "offsets": np.asarray(page.dataoffsets, np.int64),
        "counts": np.asarray(page.databytecounts, np.int64),
    }

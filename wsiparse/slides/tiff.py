"""What the directories of a TIFF file say about its stored tiles."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from wsiparse.errors import SlideError
from wsiparse.geometry import Region
from wsiparse.slides.levels import Size
from wsiparse.slides.ome import read_ome_pixels

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
_COLORSPACES = {2: "RGB", 6: "YCBCR"}
_SAMPLES = (1, 3, 4)
"""Numbers a pixel: grey, three colours, or RGBA and CMYK; others are channels of a fluorescence scanner."""

MAX_TILE_PIXELS = 1 << 26
"""Stored tiles have 128 to 4096 pixels a side."""


@dataclass(frozen=True, eq=False)
class TiledLevel:
    """Where the JPEG tiles of one level lie in the file, and how to decode them."""

    size: Size
    tile: Size
    offsets: NDArray[np.int64]
    """First byte of each tile, row by row."""
    counts: NDArray[np.int64]
    """Bytes of each tile; all above 0."""
    tables: bytes | None
    """Quantisation and Huffman tables shared by the tiles, where they are not in the tiles themselves."""
    colorspace: str
    """Meaning of the stored colours, `RGB` or `YCBCR`; Aperio's JPEG tiles do not say it themselves."""

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.size[0] // self.tile[0])

    def index_at(self, part: Region) -> int:
        """The tile that holds a part's upper left pixel."""
        return part.y // self.tile[1] * self.columns + part.x // self.tile[0]


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


def read_jpeg_levels(path: Path, sizes: Sequence[Size]) -> tuple[TiledLevel, ...]:
    """The tiled JPEG levels of these sizes; empty where any of them is stored in another way."""
    with suppress(*_DAMAGE), tifffile.TiffFile(path) as file:
        pages = [page for page in _list_pages(file) if page.is_tiled]
        found = [[page for page in pages if (page.imagewidth, page.imagelength) == size] for size in sizes]
        # Two directories of one size cannot be told apart; a missing tile is for OpenSlide to make up.
        if not all(len(fitting) == 1 and _is_plain_jpeg(fitting[0]) for fitting in found):
            return ()
        return tuple(_tiled_level(fitting[0]) for fitting in found)
    return ()


def _list_pages(file: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    return [page for page in file.pages if isinstance(page, tifffile.TiffPage)]


def _is_plain_jpeg(page: tifffile.TiffPage) -> bool:
    tiles = -(-page.imagewidth // page.tilewidth) * -(-page.imagelength // page.tilelength)
    return (
        int(page.compression) == _JPEG
        and int(page.photometric) in _COLORSPACES
        and (page.samplesperpixel, page.bitspersample, int(page.planarconfig), page.tiledepth) == (3, 8, 1, 1)
        and len(page.dataoffsets) == len(page.databytecounts) == tiles
        and min(page.databytecounts) > 0
    )


def _tiled_level(page: tifffile.TiffPage) -> TiledLevel:
    return TiledLevel(
        size=(page.imagewidth, page.imagelength),
        tile=(page.tilewidth, page.tilelength),
        offsets=np.asarray(page.dataoffsets, np.int64),
        counts=np.asarray(page.databytecounts, np.int64),
        tables=page.jpegtables,
        colorspace=_COLORSPACES[int(page.photometric)],
    )

"""Slides through OpenSlide: every vendor's format it knows, behind the Reader protocol.

OpenSlide latches its first error: a handle that met one broken tile refuses every later read. Such a handle is
replaced, and a region that fails again is read tile by tile, so that only the broken tile is lost.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openslide
from PIL import Image

from wsiparse.errors import SlideError
from wsiparse.geometry import Region
from wsiparse.slides.files import check_file, fingerprint_file
from wsiparse.slides.handle import Count, Handle
from wsiparse.slides.levels import Size, blank_pixels, build_levels, cut_region
from wsiparse.slides.mpp import choose_scale, read_scales
from wsiparse.slides.slide import Pixels, Slide
from wsiparse.slides.stored_tiles import StoredTiles
from wsiparse.slides.tiff import read_codec

_log = logging.getLogger(__name__)
_CELL = (512, 512)  # where a level states no tile size of its own

_TRANSFER_SYNTAXES = {
    "1.2.840.10008.1.2.1": "none",
    "1.2.840.10008.1.2.4.50": "jpeg",
    "1.2.840.10008.1.2.4.90": "jpeg2000",
    "1.2.840.10008.1.2.4.91": "jpeg2000",
}


def detect_vendor(path: Path) -> str | None:
    """OpenSlide's name of the file's format, or None where it knows none."""
    vendor: str | None = openslide.OpenSlide.detect_format(path)
    return vendor


def open_handle(path: str) -> openslide.OpenSlide:
    """An OpenSlide handle; SlideError where OpenSlide refuses the file."""
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError as error:
        check_file(Path(path))  # once described, it may be gone or out of reach
        raise SlideError(f"{path}: not a slide that OpenSlide knows; convert it to a pyramidal TIFF") from error
    except openslide.OpenSlideError as error:
        check_file(Path(path))
        raise SlideError(f"{path}: OpenSlide cannot open it ({error}); copy it again or convert it") from error


def describe_openslide(path: Path, id: str, mpp: float | None) -> Slide:
    """The description of a slide that OpenSlide reads; raises SlideError or MppError."""
    with open_handle(str(path)) as handle:
        scale = choose_scale(str(path), mpp, read_scales(handle.properties))
        return Slide(
            id=id,
            path=str(path),
            levels=build_levels(handle.level_dimensions, scale.mpp),
            mpp_source=scale.source,
            bounds=read_bounds(handle.properties),
            vendor=handle.properties.get("openslide.vendor", ""),
            codec=_TRANSFER_SYNTAXES.get(handle.properties.get("dicom.TransferSyntaxUID", "")) or read_codec(path),
            fingerprint=fingerprint_file(path),
        )


def read_bounds(properties: Mapping[str, str]) -> Region | None:
    """The scanned area in level-0 pixels where a file states all four of its numbers."""
    stated = [properties.get(f"openslide.bounds-{name}") for name in ("x", "y", "width", "height")]
    numbers = [int(text) for text in stated if text is not None]
    return Region(*numbers) if len(numbers) == 4 else None


class OpenSlideReader:
    """Reads a slide through OpenSlide, but for what it would interpolate though its `tiles` are known."""

    def __init__(self, slide: Slide, tiles: StoredTiles | None = None) -> None:
        self._slide = slide
        self._tiles = tiles
        self._file = Handle(functools.partial(_open_file, slide.path))
        self._unreadable = Count()

    @property
    def slide(self) -> Slide:
        """The slide that is read."""
        return self._slide

    @property
    def unreadable_pixels(self) -> int:
        """Pixels returned white so far because OpenSlide could not decode them."""
        return self._unreadable.value

    def read_region(self, region: Region, level: int) -> Pixels:
        """RGB of a region in pixels of a level, uint8 [h, w, 3]; a level's pixel is the same whatever the region."""
        pixels = blank_pixels(region)
        inside = region.intersect(self._slide.levels[level].region)
        if inside.area:
            for part in self._file.get().cut_exactly(inside, level):
                self._read_part(part, level, pixels[part.shift(-region.x, -region.y).slices])
        return pixels

    def close(self) -> None:
        """Release the file; the next read opens it again."""
        self._file.drop()
        if self._tiles:
            self._tiles.close()

    def _read_part(self, part: Region, level: int, out: Pixels) -> None:
        if self._tiles and self._file.get().interpolates(level) and self._tiles.paint(part, level, out):
            return
        for _ in range(2):
            file = self._file.get()
            try:
                file.paint(part, level, out)
            except openslide.OpenSlideError:
                self._file.drop(file)
            else:
                return
        self._salvage(part, level, out)

    def _salvage(self, part: Region, level: int, out: Pixels) -> None:
        # A handle of its own: another thread's error would latch a shared one in the middle of a good tile.
        file = _open_file(self._slide.path)
        for cell in cut_region(part, file.cells[level]):
            target = out[cell.shift(-part.x, -part.y).slices]
            try:
                file.paint(cell, level, target)
            except openslide.OpenSlideError as error:
                _log.warning("%s: level %d, %s cannot be decoded: %s", self._slide.id, level, cell, error)
                target[...] = 255
                self._unreadable.add(cell.area)
                file = _open_file(self._slide.path)


@dataclass(frozen=True, eq=False)
class _OpenFile:
    """A handle with what a latched one would refuse to tell."""

    handle: openslide.OpenSlide
    downsamples: tuple[float, ...]
    """Pixels of level 0 per pixel of each level, as OpenSlide counts them."""
    cells: tuple[Size, ...]
    """Size of the stored tiles of each level."""

    def interpolates(self, level: int) -> bool:
        """Whether pixels of a level are mixed where their corner is not the level's."""
        return not self.downsamples[level].is_integer()

    def cut_exactly(self, inside: Region, level: int) -> list[Region]:
        """Parts of a region of a level whose pixels OpenSlide returns independently of the region asked for.

        OpenSlide takes the corner in level-0 pixels. Where a level's downsample is no integer it then interpolates by a
        fraction of a pixel that depends on the corner, so such levels are read from the corners of their stored tiles.
        """
        return list(cut_region(inside, self.cells[level])) if self.interpolates(level) else [inside]

    def paint(self, part: Region, level: int, out: Pixels) -> None:
        """Write a part that `cut_exactly` returned into `out`, uint8 [h, w, 3], composited on white."""
        downsample = self.downsamples[level]
        width, height = self.cells[level] if self.interpolates(level) else (1, 1)
        x, y = part.x // width * width, part.y // height * height
        corner = (round(x * downsample), round(y * downsample))
        image = self.handle.read_region(corner, level, (part.right - x, part.bottom - y))
        out[...] = np.asarray(_lay_on_white(image))[part.y - y :, part.x - x :]


def _open_file(path: str) -> _OpenFile:
    handle = open_handle(path)
    downsamples = tuple(float(downsample) for downsample in handle.level_downsamples)
    return _OpenFile(handle, downsamples, tuple(_stored_cell(handle, level) for level in range(len(downsamples))))


def _lay_on_white(image: Image.Image) -> Image.Image:
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white


def _stored_cell(handle: openslide.OpenSlide, level: int) -> Size:
    names = (f"openslide.level[{level}].tile-width", f"openslide.level[{level}].tile-height")
    width, height = (int(handle.properties.get(name, "0")) for name in names)
    return (width, height) if width > 0 and height > 0 else _CELL

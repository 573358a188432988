"""Plain PNG, JPEG, TIFF and WebP images as slides of one level, of the pixels as they are stored.

EXIF's orientation is for viewers of photographs. QuPath does not obey it, and outlines have to lie right there.
"""

from __future__ import annotations

import functools
import mmap
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.TiffImagePlugin import TiffImageFile

from wsiparse.errors import PixelError, SlideError
from wsiparse.geometry import Region
from wsiparse.slides.files import fingerprint_file
from wsiparse.slides.handle import Handle
from wsiparse.slides.levels import Size, blank_pixels, build_levels
from wsiparse.slides.mpp import choose_scale
from wsiparse.slides.slide import Pixels, Slide
from wsiparse.slides.tiff import check_channels, check_pages

VENDOR = "image"
"""Vendor of slides that are plain images."""

_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_BITS = 258
"""TIFF's tag of the bits of each sample."""
_WIDTH, _HEIGHT = 256, 257
_TURNS_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""What undoes each orientation that TIFF and EXIF state."""
_CODESTREAM = b"\xff\x4f\xff\x51"
"""How the data of JPEG 2000 begin, whatever boxes are before them: with the segment that states sizes and bits."""


def describe_image(path: Path, id: str, mpp: float | None) -> Slide:
    """The description of a plain image; an image's own resolution tags are a printer's, so `mpp` must be given."""
    with _open_image(path) as image:
        if _is_deep(image, path):
            raise SlideError(f"{path}: more than 8 bits a colour, expected 8 at most; convert it to 8-bit RGB")
        if isinstance(image, TiffImageFile):
            check_channels(path)
            check_pages(path)
        scale = choose_scale(str(path), mpp, ())
        return Slide(
            id=id,
            path=str(path),
            levels=build_levels([_stored_size(image)], scale.mpp),
            mpp_source=scale.source,
            vendor=VENDOR,
            codec=(image.format or "").lower(),
            fingerprint=fingerprint_file(path),
        )


class ImageReader:
    """Reads a plain image, decoded once and held whole: Pillow's size limit bounds it."""

    def __init__(self, slide: Slide) -> None:
        self._slide = slide
        self._pixels = Handle(functools.partial(_decode_image, Path(slide.path)))

    @property
    def slide(self) -> Slide:
        """The slide that is read."""
        return self._slide

    @property
    def unreadable_pixels(self) -> int:
        """Always 0: an image is decoded as a whole or not at all."""
        return 0

    def read_region(self, region: Region, level: int) -> Pixels:
        """RGB of a region in pixels of a level, uint8 [h, w, 3]; PixelError where the image is damaged."""
        pixels = blank_pixels(region)
        inside = region.intersect(self._slide.levels[level].region)
        if inside.area:
            pixels[inside.shift(-region.x, -region.y).slices] = self._pixels.get()[inside.slices]
        return pixels

    def close(self) -> None:
        """Forget the decoded pixels; the next read decodes them again."""
        self._pixels.drop()


def _is_deep(image: ImageFile, path: Path) -> bool:
    """Whether a colour has more than 8 bits. Pillow shows the upper 8 of RGB, where 12-bit cameras leave black."""
    if isinstance(image, TiffImageFile):
        return any(bits > 8 for bits in image.tag_v2.get(_BITS, ()))
    if isinstance(image, Jpeg2KImageFile):
        return any(bits > 8 for bits in _read_jpeg2000_bits(path))
    return image.mode in _DEEP_MODES or ";16" in str(image.tile)  # how Pillow calls 16-bit RGB as it is stored


def _read_jpeg2000_bits(path: Path) -> list[int]:
    """Bits of each component of a JPEG 2000 file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.find(_CODESTREAM)
        components = start + 42, start + 42 + 3 * int.from_bytes(data[start + 40 : start + 42])
        return [(depth & 0x7F) + 1 for depth in data[slice(*components, 3)]]  # the upper bit says that it is signed


def _open_image(path: Path) -> ImageFile:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(path)
    except UnidentifiedImageError as error:
        raise SlideError(
            f"{path}: neither a slide nor an image that can be read; check the file or copy it again"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SlideError(
            f"{path}: a plain image of more than {Image.MAX_IMAGE_PIXELS} pixels; convert it to a pyramidal TIFF"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise SlideError(f"{path}: the image cannot be opened ({error}); copy it again") from error


def _stored_size(image: ImageFile) -> Size:
    if isinstance(image, TiffImageFile):
        return image.tag_v2[_WIDTH], image.tag_v2[_HEIGHT]
    return image.size


def _decode_image(path: Path) -> Pixels:
    with _open_image(path) as image:
        turned = image.getexif().get(Base.Orientation) if isinstance(image, TiffImageFile) else None
        try:
            shown = _lay_on_white(image)
        except (OSError, SyntaxError, ValueError) as error:
            raise PixelError(f"{path}: the image cannot be decoded ({error}); copy it again") from error
        # Pillow turns TIFFs, and no others, when it decodes them.
        return np.asarray(shown.transpose(_TURNS_BACK[turned]) if turned in _TURNS_BACK else shown)


def _lay_on_white(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")

"""Opening a slide: which reader fits the file, and the readers a process keeps open."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

from wsiparse.errors import MppError, SlideError
from wsiparse.slides.dicom import VENDOR as WSIDICOM
from wsiparse.slides.dicom import DicomReader, describe_dicom, find_series, is_dicom
from wsiparse.slides.files import check_file
from wsiparse.slides.image import VENDOR as IMAGE
from wsiparse.slides.image import ImageReader, describe_image
from wsiparse.slides.jpeg_tiff import JpegTiffReader
from wsiparse.slides.openslide import OpenSlideReader, describe_openslide, detect_vendor
from wsiparse.slides.remote import is_remote, name_remote
from wsiparse.slides.slide import Reader, Slide
from wsiparse.slides.slide_cache import fetch_slide
from wsiparse.slides.stored_tiles import StoredTiles
from wsiparse.slides.tiff import check_directories, check_pages, read_jpeg_levels, read_plain_levels

OPEN_READERS = 8
"""Readers that `reader_of` keeps open in a process."""

# Formats whose tiles lie side by side without gaps or overlaps, as the fast path needs them.
_TIFF_VENDORS = ("aperio", "generic-tiff")
# Pillow would open some of these too, and show the label or a thumbnail for the slide.
_SLIDES_ONLY = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".dcm")
_readers: OrderedDict[tuple[int, Slide], Reader] = OrderedDict()
_lock = threading.Lock()


def open_slide(path: str | Path, *, mpp: float | None = None) -> Reader:
    """A reader of the slide at `path`: a file, the folder of a DICOM slide, or an address such as `s3://…`.

    `mpp` (µm per pixel of the finest level) wins over what the file states. Raises SlideError, or MppError where nobody
    states a µm per pixel.
    """
    return make_reader(describe(path, mpp=mpp))


def describe(path: str | Path, *, id: str | None = None, mpp: float | None = None) -> Slide:
    """What the file at `path` is, without keeping it open; errors as in `open_slide`.

    `id` is the file's name without its ending unless given; `mpp` wins over what the file states.
    """
    if is_remote(str(path)):
        return _describe_remote(str(path), id, mpp)
    named = Path(path)
    file = _find_file(named)
    check_file(file)
    name = (named.name if named.is_dir() else named.stem) if id is None else id
    vendor = detect_vendor(file)
    if vendor == "dicom" or is_dicom(file):
        return _describe_dicom(file, name, mpp)
    if vendor in _TIFF_VENDORS:
        check_directories(file)
    if vendor == "generic-tiff":
        check_pages(file)
    if vendor:
        return describe_openslide(file, name, mpp)
    if file.suffix.lower() in _SLIDES_ONLY:
        raise SlideError(
            f"{file}: no slide that OpenSlide knows, though it ends in {file.suffix}; copy it again, with the files "
            "and folders that belong to it"
        )
    return describe_image(file, name, mpp)


def _describe_remote(url: str, id: str | None, mpp: float | None) -> Slide:
    """What the file behind an address is; the description keeps the address, each machine has a copy of its own."""
    name = Path(name_remote(url)).stem if id is None else id
    with fetch_slide(url) as copy:
        return replace(describe(copy, id=name, mpp=mpp), path=url)


def make_reader(slide: Slide) -> Reader:
    """A new reader of a described slide; the file is opened when pixels are first asked for."""
    if is_remote(slide.path):
        return _make_remote_reader(slide)
    if slide.vendor == IMAGE:
        return ImageReader(slide)
    if slide.vendor == WSIDICOM:
        return DicomReader(slide)
    return _make_tiff_reader(slide) if slide.vendor in _TIFF_VENDORS else OpenSlideReader(slide)


def _make_remote_reader(slide: Slide) -> Reader:
    copy = fetch_slide(slide.path)
    reader = make_reader(replace(slide, path=str(copy.path)))
    # It opens the file when pixels are asked for, and again after an error: the copy stays as long as the reader.
    weakref.finalize(reader, copy.release)
    return reader


def _make_tiff_reader(slide: Slide) -> Reader:
    path, sizes = Path(slide.path), [(level.width, level.height) for level in slide.levels]
    jpeg = read_jpeg_levels(path, sizes) if slide.codec == "jpeg" else ()
    if jpeg:
        return JpegTiffReader(slide, jpeg)
    tiles = StoredTiles(slide.path, read_plain_levels(path, sizes)) if len(sizes) > 1 else None
    return OpenSlideReader(slide, tiles)


def reader_of(slide: Slide) -> Reader:
    """This process's reader of a slide, kept open until 8 others have been used since."""
    key = (os.getpid(), slide)
    with _lock:
        reader = _readers.pop(key, None) or make_reader(slide)
        _readers[key] = reader
        closing = _readers.popitem(last=False)[1] if len(_readers) > OPEN_READERS else None
    if closing:
        closing.close()
    return reader


def _find_file(named: Path) -> Path:
    """The file by which a slide is opened: itself, a DICOM folder's finest level, or an MRXS file beside its folder."""
    try:
        if not named.is_dir():
            return named
        if (named / "Slidedat.ini").is_file():
            return named.parent / f"{named.name}.mrxs"
        return find_series(named)[0]
    except PermissionError as error:
        raise SlideError(
            f"{named}: may not be looked at by this user; change its permissions or its folder's"
        ) from error


def _describe_dicom(file: Path, name: str, mpp: float | None) -> Slide:
    try:
        return describe_openslide(file, name, mpp)
    except MppError:
        raise
    except SlideError:
        return describe_dicom(file, name, mpp)

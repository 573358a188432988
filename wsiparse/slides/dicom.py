"""DICOM slides: the one series of a folder, files that only wsidicom reads, and why neither library reads a file.

pydicom and wsidicom come with the extra `dicom`; OpenSlide alone reads most DICOM slides without them.
"""

from __future__ import annotations

import functools
import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from wsiparse.errors import SlideError
from wsiparse.geometry import Region
from wsiparse.slides.files import fingerprint_file
from wsiparse.slides.handle import Count, Handle
from wsiparse.slides.levels import blank_pixels, build_levels, cut_region
from wsiparse.slides.mpp import Scale, choose_scale
from wsiparse.slides.slide import Pixels, Slide

_log = logging.getLogger(__name__)

VENDOR = "wsidicom"
"""Vendor of DICOM slides that OpenSlide refuses and wsidicom reads."""

_SLIDE_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.6"
_REQUIRED = {
    "ImageType": "whether it is a level, a label or an overview",
    "TotalPixelMatrixColumns": "the width of the level",
    "TotalPixelMatrixRows": "the height of the level",
    "NumberOfFrames": "the number of its tiles",
    "Columns": "the width of its tiles",
    "Rows": "the height of its tiles",
    "PhotometricInterpretation": "the meaning of its colours",
}
_UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, AttributeError)


def is_dicom(path: Path) -> bool:
    """Whether a file carries DICOM's mark."""
    with path.open("rb") as file:
        file.seek(128)
        return file.read(4) == b"DICM"


def find_series(folder: Path) -> list[Path]:
    """The DICOM files of a folder that holds one slide, the largest (the finest level) first.

    Raises SlideError where the folder holds no DICOM file or those of several slides.
    """
    files = [file for file in folder.iterdir() if file.is_file() and is_dicom(file)]
    series = {_read_header(file).get("SeriesInstanceUID", "") for file in files}
    if not series:
        raise SlideError(f"{folder}: a folder without a slide, expected a file or the folder of a DICOM or MRXS slide")
    if len(series) > 1:
        raise SlideError(
            f"{folder}: a folder with {len(series)} DICOM slides, expected one; name a slide's file, "
            "or keep each slide in a folder of its own"
        )
    return sorted(files, key=lambda file: (-file.stat().st_size, file.name))


def describe_dicom(path: Path, id: str, mpp: float | None) -> Slide:
    """The description of a DICOM slide by wsidicom; SlideError says what is missing where it refuses the file."""
    with _open_dicom(str(path)) as file:
        scale = choose_scale(str(path), mpp, [Scale("dicom", file.mpp.width, file.mpp.height)])
        return Slide(
            id=id,
            path=str(path),
            levels=build_levels([(level.size.width, level.size.height) for level in file.levels], scale.mpp),
            mpp_source=scale.source,
            vendor=VENDOR,
            fingerprint=fingerprint_file(path),
        )


class DicomReader:
    """Reads a DICOM slide through wsidicom."""

    def __init__(self, slide: Slide) -> None:
        self._slide = slide
        self._file = Handle(functools.partial(_open_dicom, slide.path))
        self._unreadable = Count()

    @property
    def slide(self) -> Slide:
        """The slide that is read."""
        return self._slide

    @property
    def unreadable_pixels(self) -> int:
        """Pixels returned white so far because their tile could not be decoded."""
        return self._unreadable.value

    def read_region(self, region: Region, level: int) -> Pixels:
        """RGB of a region in pixels of a level, uint8 [h, w, 3]; white outside the slide and where unreadable."""
        pixels = blank_pixels(region)
        inside = region.intersect(self._slide.levels[level].region)
        if inside.area:
            stored = self._file.get().levels[level]
            for part in cut_region(inside, (stored.tile_size.width, stored.tile_size.height)):
                pixels[part.shift(-region.x, -region.y).slices] = self._read_tile(part, stored.level)
        return pixels

    def close(self) -> None:
        """Release the files; the next read opens them again."""
        self._file.drop()

    def _read_tile(self, part: Region, number: int) -> Pixels:
        try:
            image = self._file.get().read_region((part.x, part.y), number, (part.width, part.height))
            return np.asarray(image.convert("RGB"))
        except _UNREADABLE as error:
            _log.warning("%s: level %d, %s cannot be decoded: %s", self._slide.id, number, part, error)
            self._unreadable.add(part.area)
            return blank_pixels(part)


def explain_refusal(path: Path) -> str:
    """What a DICOM file lacks to be a slide, in a few words, from its header."""
    header = _read_header(path)
    if header.get("SOPClassUID") != _SLIDE_CLASS:
        return f"the DICOM object is no slide but {header.get('SOPClassUID', 'of no stated class')}"
    for name, meaning in _REQUIRED.items():
        if name not in header:
            return f"a DICOM slide without {name}, which states {meaning}"
    return "a DICOM slide that neither OpenSlide nor wsidicom can read"


def _check_colours(path: Path) -> None:
    # wsidicom hands deep pixels to Pillow, which shows them white; grey ones are a channel of fluorescence.
    header = _read_header(path)
    bits, meaning = header.get("BitsStored", ""), header.get("PhotometricInterpretation", "")
    unfit = (bits.isdecimal() and int(bits) > 8) or meaning.startswith("MONOCHROME")
    if unfit and header.get("SOPClassUID") == _SLIDE_CLASS:
        raise SlideError(
            f"{path}: {bits} bits of {meaning}, expected 8 bits for each colour; export the slide as 8-bit RGB"
        )


def _open_dicom(path: str) -> Any:
    wsidicom = _import_extra("wsidicom", path)
    refusals: tuple[type[Exception], ...] = (*_exceptions_of(wsidicom.errors), *_UNREADABLE)
    file = Path(path)
    _check_colours(file)
    try:
        with _quiet():
            return wsidicom.WsiDicom.open(_files_of_series(file))
    except refusals as error:
        raise SlideError(f"{path}: {explain_refusal(file)}; add it to the header or export the slide again") from error


def _exceptions_of(module: ModuleType) -> tuple[type[Exception], ...]:
    # They share no base of their own.
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type)]
    return tuple(kind for kind in kinds if issubclass(kind, Exception))


def _files_of_series(path: Path) -> list[Path]:
    series = _read_header(path).get("SeriesInstanceUID")
    beside = (file for file in path.parent.iterdir() if file.is_file() and is_dicom(file))
    return [file for file in beside if file == path or _read_header(file).get("SeriesInstanceUID") == series]


def _read_header(path: Path) -> dict[str, str]:
    """The values of the header that matter here, as text."""
    pydicom = _import_extra("pydicom", str(path))
    names = ("SOPClassUID", "SeriesInstanceUID", "BitsStored", *_REQUIRED)
    try:
        with _quiet():
            header = pydicom.dcmread(path, stop_before_pixels=True)
            return {name: str(header[name].value) for name in names if name in header}
    except (pydicom.errors.InvalidDicomError, *_UNREADABLE) as error:
        raise SlideError(f"{path}: the DICOM header cannot be read ({error}); copy the file again") from error


def _import_extra(name: str, path: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SlideError(
            f"{path}: reading this DICOM slide needs {name}, which is not installed; pip install 'wsiparse[dicom]'"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    # Real slides often break DICOM's limits on text lengths; pydicom would warn of each.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield

"""Labels in any of the formats that are read; the content of the file decides which, not its name."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from wsiparse.annotations import asap, imagescope
from wsiparse.annotations.elements import read_elements
from wsiparse.annotations.geojson import Labels, read_geojson
from wsiparse.errors import ReferenceFileError
from wsiparse.slides.slide import Slide

_LOOKED_AT = 4096
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
"""Byte order marks, which may come before the first character."""


def read_annotations(path: str | Path, slide: Slide) -> Labels:
    """Annotations of a slide from GeoJSON (plain, gzipped, zipped), ImageScope's XML or ASAP's.

    Raises ReferenceFileError for a file that cannot be read.
    """
    if not _is_xml(Path(path)):
        return read_geojson(path, slide)
    with closing(read_elements(path, imagescope.ROOT, asap.ROOT)) as elements:
        root = next(elements).name
    return imagescope.read_imagescope(path, slide) if root == imagescope.ROOT else asap.read_asap(path, slide)


def _is_xml(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(_LOOKED_AT)
    except OSError as error:
        raise ReferenceFileError(f"{path}: {error.strerror}; expected a file of labels; correct the path") from error
    for mark in _MARKS:
        start = start.removeprefix(mark)
    return start.lstrip(b" \t\r\n\0").startswith(b"<")

"""Which files of a folder are taken for slides."""

from __future__ import annotations

import itertools
import os
from collections.abc import Container
from pathlib import Path

from wsiparse.slides.dicom import is_dicom

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
"""Endings of plain images."""
SLIDE_SUFFIXES = IMAGE_SUFFIXES | frozenset(
    {".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".dcm"}
)
"""Endings of slides and plain images; inside a file its bytes decide, not its name."""
_FILES_ASKED = 16


def find_files(folder: Path, suffixes: Container[str] = SLIDE_SUFFIXES) -> list[Path]:
    """Files of a folder with these endings, in the order of their names; no hidden ones: macOS leaves `._a.svs`."""
    files = (file for file in folder.iterdir() if file.suffix.lower() in suffixes)
    return sorted(file for file in files if not file.name.startswith("."))


def find_slides(folder: Path) -> list[Path]:
    """Slides of a folder in the order of their names: files, and folders that are one slide each.

    Other folders are left out, and those that may not be looked into, such as the `lost+found` of a disk.
    """
    shown = (path for path in folder.iterdir() if not path.name.startswith("."))
    folders = (path for path in shown if os.access(path, os.R_OK | os.X_OK) and is_slide_folder(path))
    return sorted([*find_files(folder), *folders])


def is_slide_folder(path: Path) -> bool:
    """Whether a folder is one slide: DICOM stores each level as a file of its own, and images may lie beside them.

    Archives often name these files by their identifiers alone: where no ending is known, their bytes are asked.
    """
    if not path.is_dir():
        return False
    suffixes = {file.suffix.lower() for file in find_files(path)}
    return suffixes - IMAGE_SUFFIXES == {".dcm"} if suffixes else _holds_dicom(path)


def _holds_dicom(folder: Path) -> bool:
    """Whether one of the first files is DICOM's; others, such as notes, may lie beside them."""
    shown = (file for file in folder.iterdir() if not file.name.startswith("."))
    files = (file for file in shown if file.is_file() and os.access(file, os.R_OK))
    return any(is_dicom(file) for file in itertools.islice(files, _FILES_ASKED))

"""Which files of a folder are taken for slides."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
"""Endings of plain images."""
SLIDE_SUFFIXES = IMAGE_SUFFIXES | frozenset(
    {".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".dcm"}
)
"""Endings of slides and plain images; inside a file its bytes decide, not its name."""


def find_files(folder: Path, suffixes: Container[str] = SLIDE_SUFFIXES) -> list[Path]:
    """Files of a folder with these endings, in the order of their names; no hidden ones: macOS leaves `._a.svs`."""
    files = (file for file in folder.iterdir() if file.suffix.lower() in suffixes)
    return sorted(file for file in files if not file.name.startswith("."))


def is_slide_folder(path: Path) -> bool:
    """Whether a folder is one slide: DICOM stores each level as a file of its own, and images may lie beside them."""
    suffixes = {file.suffix.lower() for file in find_files(path)} if path.is_dir() else set()
    return suffixes - IMAGE_SUFFIXES == {".dcm"}

"""Which files of a folder are taken for slides."""

from __future__ import annotations

from pathlib import Path

SLIDE_SUFFIXES = frozenset(
    {
        *(".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".dcm"),
        *(".png", ".jpg", ".jpeg", ".webp"),
    }
)
"""Endings of slides and plain images; inside a file its bytes decide, not its name."""


def is_slide_folder(path: Path) -> bool:
    """Whether a folder is one slide: DICOM stores each level as a file of its own."""
    return path.is_dir() and any(file.suffix.lower() == ".dcm" for file in path.iterdir())

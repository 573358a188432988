from __future__ import annotations

import os
from pathlib import Path

import pytest

from wsiparse.slides.formats import find_slides, is_slide_folder

DICOM = bytes(128) + b"DICM"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"1.2.840.1": DICOM, "1.2.840.2": DICOM, "notes": b"of the scanner"}, True),
        ({"a": DICOM}, True),
        ({"1.dcm": DICOM, "label.png": b""}, True),
        ({"1.2.840.1": DICOM, "a.svs": b""}, False),
        ({"notes": b"of the scanner", "empty": b"", ".hidden": DICOM}, False),
        ({}, False),
    ],
)
def test_a_folder_of_dicom_files_is_one_slide_whatever_their_names(
    tmp_path: Path, files: dict[str, bytes], expected: bool
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder").mkdir()
    assert is_slide_folder(tmp_path) == expected


def test_folders_that_may_not_be_looked_into_are_no_slides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("case", "lost+found"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.dcm").write_bytes(DICOM)
    # Whoever runs the tests as root may look everywhere.
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "lost+found")
    assert find_slides(tmp_path) == [tmp_path / "case"]

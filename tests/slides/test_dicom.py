from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import numpy as np
import openslide
import pydicom
import pytest

from wsiparse.errors import SlideError
from wsiparse.geometry import Region
from wsiparse.slides.dicom import VENDOR, DicomReader, describe_dicom
from wsiparse.slides.open import describe, make_reader, open_slide

pytestmark = pytest.mark.shared_data


@pytest.fixture
def dicom(shared_data: Path) -> Path:
    return shared_data / "slides" / "gcp_jpeg.dcm"


@pytest.fixture
def refused(shared_data: Path) -> Path:
    return shared_data / "slides" / "pathml_small_dicom.dcm"


def test_openslide_reads_a_dicom_slide(dicom: Path) -> None:
    reader = open_slide(dicom)
    assert (reader.slide.vendor, reader.slide.codec) == ("dicom", "jpeg")
    assert [(level.width, level.height) for level in reader.slide.levels] == [(957, 715)]
    assert reader.slide.mpp == pytest.approx(16.783)
    with openslide.OpenSlide(dicom) as slide:
        expected = np.asarray(slide.read_region((0, 0), 0, (957, 715)).convert("RGB"))
    np.testing.assert_array_equal(reader.read_region(Region(0, 0, 957, 715), 0), expected)


def test_wsidicom_reads_the_same_pixels(dicom: Path) -> None:
    slide = describe_dicom(dicom, "slide", None)
    assert (slide.vendor, slide.mpp_source) == (VENDOR, "dicom")
    assert slide.levels == describe(dicom).levels
    reader = make_reader(slide)
    assert isinstance(reader, DicomReader)
    whole = open_slide(dicom)
    for region in (Region(0, 0, 957, 715), Region(-7, 650, 301, 101), Region(255, 255, 3, 3), Region(960, 0, 5, 5)):
        np.testing.assert_array_equal(reader.read_region(region, 0), whole.read_region(region, 0))
    reader.close()
    assert reader.unreadable_pixels == 0
    assert reader.read_region(Region(3, 3, 5, 5), 0).shape == (5, 5, 3)


def test_a_broken_tile_of_wsidicom_is_white(dicom: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(dicom, tmp_path))
    path.chmod(0o644)
    reader = DicomReader(describe_dicom(path, "slide", None))
    whole = reader.read_region(reader.slide.grid.region, 0)
    data = bytearray(path.read_bytes())
    start = [at for at in range(len(data) - 2) if data[at : at + 3] == b"\xff\xd8\xff"][5]  # sixth tile of 4 in a row
    data[start : start + 600] = bytes(600)
    path.write_bytes(data)
    reader.close()
    expected = whole.copy()
    expected[256:512, 256:512] = 255
    np.testing.assert_array_equal(reader.read_region(reader.slide.grid.region, 0), expected)
    assert reader.unreadable_pixels == 256 * 256


def test_what_both_refuse_is_explained(refused: Path) -> None:
    with pytest.raises(SlideError, match="without ImageType, which states"):
        open_slide(refused)


@pytest.mark.parametrize(
    ("samples", "meaning", "bits"), [(1, "MONOCHROME2", 8), (1, "MONOCHROME2", 16), (3, "RGB", 16)]
)
def test_grey_and_deep_pixels_are_refused(dicom: Path, tmp_path: Path, samples: int, meaning: str, bits: int) -> None:
    """As fluorescence is stored: its upper bits would be read, or white."""
    header = pydicom.dcmread(dicom)
    header.SamplesPerPixel, header.PhotometricInterpretation = samples, meaning
    header.BitsAllocated, header.BitsStored, header.HighBit = bits, bits, bits - 1
    header.save_as(tmp_path / "deep.dcm")
    with pytest.raises(SlideError, match=f"{bits} bits of {meaning}, expected 8 bits for each colour; export"):
        open_slide(tmp_path / "deep.dcm")


def test_a_folder_is_one_slide(dicom: Path, refused: Path, tmp_path: Path) -> None:
    folder = tmp_path / "case 3"
    folder.mkdir()
    shutil.copy(dicom, folder)
    slide = describe(folder)
    assert (slide.id, slide.levels) == ("case 3", describe(dicom).levels)
    shutil.copy(refused, folder)
    with pytest.raises(SlideError, match="2 DICOM slides, expected one"):
        open_slide(folder)


def test_a_cut_header(dicom: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.dcm"
    path.write_bytes(dicom.read_bytes()[:200])
    with pytest.raises(SlideError):
        open_slide(path)


def test_a_missing_extra_is_named(refused: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(SlideError, match=r"needs wsidicom, which is not installed; pip install 'wsiparse\[dicom\]'"):
        open_slide(refused)

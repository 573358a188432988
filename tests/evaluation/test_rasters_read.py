"""One reader of masks for training and evaluation: what is white or coloured on black is 1 or 255, however stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.evaluation.drawing import ONTOLOGY, draw_slide
from wsiparse.errors import ReferenceFileError
from wsiparse.evaluation import rasters
from wsiparse.evaluation.masks import read_mask
from wsiparse.evaluation.names import TargetNames
from wsiparse.evaluation.rasters import read_picture
from wsiparse.training.dataset import load_picture
from wsiparse.training.examples import Example

SLIDE = draw_slide()  # 400 × 300 of 0.5 µm
ONLY_GLAND = TargetNames(ONTOLOGY, ("gland",))
INSIDE = np.zeros((300, 400), np.bool_)
INSIDE[40:90, 60:200] = True
WHITE = INSIDE * np.uint8(255)


def quantize(path: Path) -> None:
    Image.fromarray(WHITE).convert("RGB").quantize(2).save(path)


def invert_palette(path: Path) -> None:
    picture = Image.fromarray(np.asarray(~INSIDE, np.uint8))
    picture.putpalette([40, 200, 90, 0, 0, 0])
    picture.save(path)


def keep_palette(path: Path) -> None:
    picture = Image.fromarray(np.asarray(INSIDE, np.uint8))
    picture.putpalette([255, 255, 255, 200, 0, 0])  # QuPath's, with a white background
    picture.save(path)


def write_negative(path: Path) -> None:
    tifffile.imwrite(path, 255 - WHITE, photometric="miniswhite")


def create_in_imagej(path: Path) -> None:
    about = "ImageJ=1.54f\nmin=0.0\nmax=255.0\n"
    tifffile.imwrite(path, WHITE, photometric="miniswhite", description=about, metadata=None)


def write_fax(path: Path) -> None:
    Image.fromarray(WHITE).convert("1").save(path, compression="group4", tiffinfo={262: 0})


PLANES: Any = {"photometric": "rgb", "planarconfig": "separate"}
WAYS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "quantized": ("png", quantize),
    "palette": ("png", invert_palette),
    "qupath": ("png", keep_palette),
    "quantized tiff": ("tif", quantize),
    "negative": ("tif", write_negative),
    "imagej": ("tif", create_in_imagej),
    "fax": ("tif", write_fax),
    "bool": ("tif", lambda path: tifffile.imwrite(path, INSIDE)),
    "planes": ("tif", lambda path: tifffile.imwrite(path, np.stack([WHITE] * 3), **PLANES)),
    "grey": ("tif", lambda path: tifffile.imwrite(path, WHITE)),
}


@pytest.mark.parametrize("way", WAYS)
def test_training_and_evaluation_read_a_mask_alike(tmp_path: Path, way: str) -> None:
    ending, write = WAYS[way]
    Image.new("RGB", (400, 300)).save(tmp_path / "image.png")
    path = tmp_path / f"mask.{ending}"
    write(path)
    learned = load_picture(Example(tmp_path / "image.png", path, ("gland",), "one", "train"))
    compared = read_mask(path, SLIDE, 0.5, ONLY_GLAND).draw("gland", SLIDE.grid.region, SLIDE.grid)
    assert np.array_equal(learned.mask, INSIDE)
    assert np.array_equal(compared, INSIDE)


def test_a_large_negative_is_read_as_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rasters, "IN_MEMORY", 0)
    write_negative(tmp_path / "mask.tif")
    compared = read_mask(tmp_path / "mask.tif", SLIDE, 0.5, ONLY_GLAND)
    assert np.array_equal(compared.draw("gland", SLIDE.grid.region, SLIDE.grid), INSIDE)


def test_a_large_palette_is_read_as_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rasters, "IN_MEMORY", 0)
    invert_palette(tmp_path / "mask.tif")
    compared = read_mask(tmp_path / "mask.tif", SLIDE, 0.5, ONLY_GLAND)
    assert np.array_equal(compared.draw("gland", SLIDE.grid.region, SLIDE.grid), INSIDE)


@pytest.mark.parametrize("pages", [[WHITE, ~WHITE], [WHITE * 0] * 3])
def test_several_pages_are_refused_as_such(tmp_path: Path, pages: list[NDArray[np.uint8]]) -> None:
    tifffile.imwrite(tmp_path / "mask.tif", np.stack(pages), photometric="minisblack")
    with pytest.raises(ReferenceFileError, match=f"mask.tif: {len(pages)} pages or channels"):
        read_mask(tmp_path / "mask.tif", SLIDE, 0.5, ONLY_GLAND)


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(4)), st.integers(3, 4))
def test_places_in_a_palette_stay_where_there_are_more_than_two(order: list[int], count: int) -> None:
    palette = np.array([[0, 0, 0], [255, 255, 255], [200, 0, 0], [0, 0, 200]])[order]
    places: NDArray[Any] = np.arange(count, dtype=np.uint8).reshape(1, -1)
    assert np.array_equal(rasters._name_colors(places, palette), places)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 3), st.integers(0, 3))
def test_of_two_colours_black_is_none(black: int, other: int) -> None:
    palette = np.full((4, 3), 90)
    palette[black] = 0
    found = rasters._name_colors(np.array([[black, other]], np.uint8), palette) > 0
    assert found.tolist() == [[False, black != other]]


def test_fractions_are_refused_and_colours_kept(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "mask.tif", INSIDE.astype(np.float32) * 0.9)
    with pytest.raises(ReferenceFileError, match="fractions"):
        read_picture(tmp_path / "mask.tif")
    Image.new("RGBA", (4, 3), (200, 0, 0, 255)).save(tmp_path / "mask.png")
    assert read_picture(tmp_path / "mask.png").shape == (3, 4, 3)

"""Images of a known scale: learned from at the working mpp, by the pixels that a run would see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.teaching import TILES, draw_disc, save_pair, write_config
from wsiparse.errors import InputError, TargetError
from wsiparse.geometry import Grid
from wsiparse.ontology import Ontology, Target
from wsiparse.slides.open import describe, reader_of
from wsiparse.tiles.resample import read_grid
from wsiparse.training.dataset import Picture
from wsiparse.training.scaling import scale_picture
from wsiparse.training.settings import TrainingSettings, read_settings
from wsiparse.training.sources import load_lesson

DISCS = Ontology(
    (
        Target("dark disc", "dark disc in test tissue", "disc", (200, 0, 0), 0.5),
        Target("light disc", "light disc in test tissue", "disc", (0, 0, 200), 0.5),
    )
)
GLANDS = Target("glands", "glands in test tissue", "gland", (0, 200, 0), 2.0)
EBHI = Path(__file__).parents[1] / "data/ebhi"


def make_picture(side: int = 48, present: tuple[str, ...] = ("dark disc",)) -> Picture:
    pixels, mask = draw_disc(side)
    return Picture(pixels, mask[None], (present,), None, mask[::-1])


@pytest.mark.parametrize("scale", [2.0, 1.5, 0.5])
def test_pixels_are_those_of_a_run_at_the_working_mpp(scale: float) -> None:
    path = next(EBHI.rglob("*.webp"))
    pixels = np.asarray(Image.open(path).convert("RGB"))
    slide = describe(path, mpp=1.0)
    height, width = (round(side * scale) for side in pixels.shape[:2])
    grid = Grid(width, height, 1.0 / scale)
    run = read_grid(reader_of(slide), grid, grid.region)
    ours = Picture(pixels, np.zeros((1, *pixels.shape[:2]), bool), (("gland",),)).resize(scale).pixels
    assert ours.shape == run.shape
    assert np.abs(ours.astype(int) - run).max() <= 1


def test_a_magnification_is_no_scale() -> None:
    assert scale_picture(make_picture(), DISCS, {"dark disc": 4.0})[0].pixels.shape[:2] == (384, 384)
    with pytest.raises(
        InputError, match=r"an image of 20 µm per pixel shows 'dark disc', .* at 0.5; expected at most 8"
    ):
        scale_picture(make_picture(), DISCS, {"dark disc": 20.0})


def test_masks_and_hidden_pixels_go_along() -> None:
    picture = make_picture()
    larger = picture.resize(2.0)
    assert larger.hidden is not None
    assert picture.hidden is not None
    for before, after in ((picture.mask, larger.mask), (picture.hidden, larger.hidden)):
        assert after.shape == (96, 96)
        assert after.sum() == pytest.approx(4 * before.sum(), rel=0.03)
        np.testing.assert_array_equal(larger.resize(0.5).mask, picture.mask)


def test_what_has_no_stated_scale_stays() -> None:
    picture = make_picture()
    assert scale_picture(picture, DISCS, {"light disc": 2.0}) == [picture]
    assert scale_picture(picture, DISCS, {"dark disc": 0.5}) == [picture]
    for known, mpps in ((picture, {"dark disc": 1.0}), (replace(picture, mpp=1.0), {"dark disc": 4.0})):
        (scaled,) = scale_picture(known, DISCS, mpps)
        assert scaled.pixels.shape == (96, 96, 3)
    assert scaled.mpp == 0.5


def test_two_scales_for_one_image_are_refused() -> None:
    picture, mpps = make_picture(present=("dark disc", "light disc")), {"dark disc": 2.0, "light disc": 3.0}
    with pytest.raises(InputError, match=r"'dark disc' and 'light disc'.*different mpp \(2.0, 3.0\)"):
        scale_picture(picture, DISCS, mpps)
    assert len(scale_picture(replace(picture, mpp=1.0), DISCS, mpps)) == 1


def test_targets_of_other_scales_are_learned_from_a_picture_each() -> None:
    picture = replace(make_picture(), absent=("glands",), mpp=0.5)
    near, far = scale_picture(picture, Ontology((*DISCS.targets, GLANDS)), {})
    assert (near.pixels.shape, near.present, near.known) == ((48, 48, 3), ("dark disc",), ("dark disc", "light disc"))
    assert (far.pixels.shape, far.present, far.known) == ((12, 12, 3), (), ("glands",))
    assert far.stack().shape == (4, 12, 12)


def test_images_of_an_mpp_that_cannot_be_are_named_and_counted(tmp_path: Path) -> None:
    rows = ["image,mask,present,case,part,mpp"]
    for name, mpp in (("a", 0.5), ("b", 20), ("c", 20)):
        save_pair(tmp_path / f"{name}.png", tmp_path / f"{name}_mask.png")
        rows.append(f"{name}.png,{name}_mask.png,dark disc,,train,{mpp}")
    (tmp_path / "examples.csv").write_text("\n".join(rows))
    with pytest.raises(InputError, match=r"^b.png: an image of 20 µm.* no magnification \(and 1 more such\)"):
        load_lesson(read_settings(write_config(tmp_path, examples="examples.csv")), TILES)


def test_a_lesson_is_at_the_working_mpp(tmp_path: Path) -> None:
    for part, x in (("train", 20), ("test", 24)):
        save_pair(tmp_path / part / f"{part}.png", tmp_path / f"{part}_mask/{part}_dark+disc.png", x)
    lesson = load_lesson(read_settings(write_config(tmp_path, examples=".")), TILES)
    scaled = load_lesson(scale_lesson(tmp_path, "dark disc"), TILES)
    for before, after in zip((*lesson.train, *lesson.test), (*scaled.train, *scaled.test), strict=True):
        height, width, _ = before.read().pixels.shape
        assert after.read().pixels.shape == (2 * height, 2 * width, 3)
    with pytest.raises(TargetError, match="red disc"):
        load_lesson(scale_lesson(tmp_path, "red disc"), TILES)


def scale_lesson(folder: Path, name: str) -> TrainingSettings:
    config = write_config(folder, examples=".")
    config.write_text(f"mpp = {{ {name!r} = 1.0 }}\n" + config.read_text())
    return read_settings(config)

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from wsiparse.geometry import Grid, Region
from wsiparse.slides.open import open_slide
from wsiparse.slides.slide import Pixels
from wsiparse.slides.thumbnail import read_thumbnail
from wsiparse.slides.tissue import TissueMask, find_tissue

GLASS = (243, 242, 244)
STAINS = {"strong": (150, 60, 140), "usual": (200, 130, 185), "pale": (232, 212, 230), "very pale": (234, 217, 233)}
INKS = {
    "blue": (40, 70, 170),
    "navy": (20, 30, 110),
    "pure blue": (20, 20, 210),
    "green": (30, 140, 80),
    "black": (25, 25, 28),
    "red": (205, 25, 35),
}


def draw_glass(width: int = 400, height: int = 300, color: tuple[int, int, int] = GLASS, noise: float = 1.5) -> Pixels:
    rng = np.random.default_rng(3)
    pixels: Pixels = np.clip(rng.normal(color, noise, (height, width, 3)), 0, 255).astype(np.uint8)
    return pixels


def paint(pixels: Pixels, where: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], color: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(4)
    pixels[where] = np.clip(rng.normal(color, 5, (int(where.sum()), 3)), 0, 255)


def disc(pixels: Pixels, x: int, y: int, radius: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    inside: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] = np.hypot(rows - y, columns - x) < radius
    return inside


def grid_of(pixels: Pixels, mpp: float = 8.0) -> Grid:
    return Grid(pixels.shape[1], pixels.shape[0], mpp)


def find(pixels: Pixels, mpp: float = 8.0) -> TissueMask:
    return find_tissue(pixels, grid_of(pixels, mpp))


def stroke(pixels: Pixels, points: list[tuple[int, int]], color: tuple[int, int, int], width: int = 14) -> Pixels:
    image = Image.fromarray(np.repeat(np.repeat(pixels, 2, 0), 2, 1))
    ImageDraw.Draw(image).line([(2 * x, 2 * y) for x, y in points], fill=color, width=2 * width, joint="curve")
    return np.asarray(image.reduce(2))  # soft borders


@pytest.mark.parametrize("stain", STAINS)
@pytest.mark.parametrize("glass", [GLASS, (255, 255, 255), (226, 222, 216)], ids=["grey", "white", "yellowish"])
def test_tissue_of_any_strength_on_any_glass(stain: str, glass: tuple[int, int, int]) -> None:
    pixels = draw_glass(color=glass)
    where = disc(pixels, 200, 150, 90)
    color = tuple(round(s * g / w) for s, g, w in zip(STAINS[stain], glass, GLASS, strict=True))
    paint(pixels, where, (color[0], color[1], color[2]))
    found = find(pixels)
    both, either = (found.mask & where).sum(), (found.mask | where).sum()
    assert both / either > 0.95
    assert found.share == pytest.approx(where.mean(), rel=0.06)
    assert found.pen_share == 0


@pytest.mark.parametrize("glass", [(255, 255, 255), GLASS, (226, 222, 216), (200, 200, 200)])
@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_blank_slides_hold_no_tissue(glass: tuple[int, int, int], noise: float) -> None:
    assert find(draw_glass(color=glass, noise=noise)).share == 0


def test_a_black_rim_around_the_scan_is_no_tissue() -> None:
    pixels = draw_glass()
    pixels[:, :60] = 0
    assert find(pixels).share == 0


@pytest.mark.parametrize("stain", ["strong", "usual"])
def test_a_slide_that_is_all_tissue_is_found_whole(stain: str) -> None:
    assert find(draw_glass(224, 224, STAINS[stain], noise=6), 1.5).share > 0.98


def test_a_tiny_blank_slide_is_blank() -> None:
    assert find(draw_glass(40, 30), 1.0).share == 0


def test_a_crop_smaller_than_dust_may_be_all_tissue() -> None:
    """224 pixels of 0.25 µm, as patches of collections have them."""
    pixels = np.full((7, 7, 3), STAINS["usual"], np.uint8)
    assert find_tissue(pixels, Grid(7, 7, 8.0)).share == 1


def test_dust_is_dropped_and_lumens_belong_to_tissue() -> None:
    pixels = draw_glass()
    tissue = disc(pixels, 200, 150, 90)
    paint(pixels, tissue & ~disc(pixels, 200, 150, 12), STAINS["usual"])
    paint(pixels, disc(pixels, 40, 40, 3), STAINS["strong"])
    found = find(pixels)
    assert found.mask[150, 200]
    assert not found.mask[:80, :80].any()


def test_a_wide_gap_stays_a_gap() -> None:
    pixels = draw_glass()
    paint(pixels, disc(pixels, 200, 150, 100) & ~disc(pixels, 200, 150, 50), STAINS["usual"])
    assert not find(pixels).mask[150, 200]


@pytest.mark.parametrize("ink", INKS)
def test_pen_strokes_are_left_out(ink: str) -> None:
    clean = draw_glass()
    tissue = disc(clean, 200, 150, 70)
    paint(clean, tissue, STAINS["usual"])
    ring = [(110, 60), (290, 60), (300, 240), (100, 240), (110, 60)]
    found = find(stroke(clean, ring, INKS[ink]))
    assert 0.05 < found.pen_share < 0.35
    assert found.mask[150, 200]
    outside = ~disc(clean, 200, 150, 74)
    assert not (found.mask & outside).any()
    assert (found.mask & tissue).sum() > 0.95 * tissue.sum()


@pytest.mark.parametrize("ink", ["blue", "green", "black"])
def test_a_stroke_over_tissue_takes_itself_only(ink: str) -> None:
    pixels = draw_glass()
    tissue = disc(pixels, 200, 150, 100)
    paint(pixels, tissue, STAINS["usual"])
    found = find(stroke(pixels, [(20, 150), (380, 150)], INKS[ink]))
    assert not found.mask[146:155, 20:380].any()
    assert found.mask[80:125, 180:220].all()


def test_a_blue_green_stain_is_no_pen() -> None:
    pixels = draw_glass()
    paint(pixels, disc(pixels, 200, 150, 90), (90, 150, 170))
    found = find(pixels)
    assert found.pen_share == 0
    assert found.share > 0.15


def test_the_real_slide(cmu_1: Path) -> None:
    """The outline was checked by eye: a strip of skin on clear glass, a little blue dirt at its right."""
    found = find_tissue(*read_thumbnail(open_slide(cmu_1), 8.0))
    assert found.share == pytest.approx(0.394, abs=0.03)
    assert found.pen_share == 0
    assert found.mask[140, 60]
    assert not found.mask[:, :20][80:].any()
    assert not found.mask[30:60, 125:].any()


@pytest.mark.parametrize("mpp", [2.0, 4.0, 16.0])
def test_the_share_hardly_depends_on_the_thumbnails_scale(cmu_1: Path, mpp: float) -> None:
    assert find_tissue(*read_thumbnail(open_slide(cmu_1), mpp)).share == pytest.approx(0.394, abs=0.04)


@pytest.mark.shared_data
@pytest.mark.parametrize(("folder", "mpp"), [("ebhi-seg", 1.5), ("monuseg", 0.2462)])
def test_images_that_are_all_tissue(shared_data: Path, folder: str, mpp: float) -> None:
    names = sorted(path for path in (shared_data / folder).rglob("*.webp") if "mask" not in str(path).lower())
    for path in names[:: max(len(names) // 12, 1)]:
        found = find_tissue(*read_thumbnail(open_slide(path, mpp=mpp), 2.0))
        assert found.share > 0.95, path
        assert found.pen_share == 0, path


@pytest.mark.shared_data
def test_an_image_of_real_glass(shared_data: Path) -> None:
    image = shared_data / "crchisto" / "images" / "img76.webp"
    assert find_tissue(*read_thumbnail(open_slide(image, mpp=0.55), 2.0)).share == 0


@settings(deadline=None, max_examples=60)
@given(
    spots=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 19)), max_size=4),
    x=st.integers(-40, 400),
    y=st.integers(-40, 300),
    width=st.integers(0, 120),
    height=st.integers(0, 120),
    mpp=st.sampled_from([0.5, 0.7, 1.0, 8.0, 13.0]),
)
@example(spots=[(0, 0)], x=0, y=1, width=1, height=0, mpp=0.5)
def test_a_region_is_covered_where_any_tissue_pixel_touches_it(
    spots: list[tuple[int, int]], x: int, y: int, width: int, height: int, mpp: float
) -> None:
    mask = np.zeros((20, 30), bool)
    for column, row in spots:
        mask[row, column] = True
    tissue = TissueMask(mask, Grid(30, 20, 8.0), 0.0)
    fine, region = Grid(480, 320, mpp), Region(x, y, width, height)
    low, high = np.array([x, y]) * mpp, np.array([x + width, y + height]) * mpp
    expected = region.area > 0 and any(
        low[0] + 1e-4 < (column + 1) * 8
        and column * 8 < high[0] - 1e-4
        and low[1] + 1e-4 < (row + 1) * 8
        and row * 8 < high[1] - 1e-4
        for column, row in spots
    )
    assert tissue.covers(region, fine) == expected


def test_many_regions_at_once() -> None:
    rng = np.random.default_rng(0)
    tissue = TissueMask(rng.random((300, 400)) > 0.999, Grid(400, 300, 8.0), 0.0)
    regions = [Region(x, y, 37, 41) for x in range(0, 6400, 40) for y in range(0, 4800, 40)]
    covered = tissue.covered(regions, Grid(6400, 4800, 0.5))
    assert covered.shape == (len(regions),)
    for index in rng.integers(0, len(regions), 50):
        assert covered[index] == tissue.covers(regions[index], Grid(6400, 4800, 0.5))
    assert tissue.covered([], Grid(6400, 4800, 0.5)).shape == (0,)


def test_a_mask_pickles() -> None:
    tissue = TissueMask(np.eye(5, dtype=bool), Grid(5, 5, 8.0), 0.25)
    again = pickle.loads(pickle.dumps(tissue))
    np.testing.assert_array_equal(again.mask, tissue.mask)
    assert again.covers(Region(0, 0, 1, 1), Grid(5, 5, 8.0))

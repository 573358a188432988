from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import MakeSlide
from tests.drawing import average_squares, draw_tissue
from tests.readers import ArrayReader
from wsiparse.geometry import Grid, Region
from wsiparse.slides.open import open_slide
from wsiparse.slides.slide import Pixels, Slide
from wsiparse.slides.thumbnail import SQUARE, read_thumbnail


@pytest.mark.parametrize("mpp", [0.5, 1.0, 3.4, 8.0, 40.0])
def test_each_pixel_is_the_mean_of_its_square(mpp: float) -> None:
    pixels = draw_tissue(1003, 701)
    thumbnail, grid = read_thumbnail(ArrayReader(pixels), mpp)
    side = round(mpp / 0.5)
    assert grid == Grid(-(-1003 // side), -(-701 // side), 0.5 * side)
    expected = average_squares(pixels, side)
    inner = thumbnail[: expected.shape[0], : expected.shape[1]]
    assert np.abs(inner.astype(int) - expected).max() <= 1
    edge = pixels[:, 1003 // side * side :] if 1003 % side else pixels[:, -side:]
    assert thumbnail[0, -1].mean() == pytest.approx(edge[:side].mean(), abs=1)


def test_squares_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ArrayReader(draw_tissue(1003, 701))
    whole, _ = read_thumbnail(reader, 3.5)
    monkeypatch.setattr("wsiparse.slides.thumbnail.SQUARE", 100)
    np.testing.assert_array_equal(read_thumbnail(reader, 3.5)[0], whole)


def test_the_coarsest_level_that_suits_is_read(make_slide: MakeSlide) -> None:
    reader = open_slide(make_slide(1537, 1211, 0.25, mirrored=True, downsamples=(1, 4, 16)))
    thumbnail, grid = read_thumbnail(reader, 4.0)
    np.testing.assert_array_equal(thumbnail, reader.read_region(reader.slide.levels[2].region, 2))
    assert grid == reader.slide.levels[2]
    assert read_thumbnail(reader, 8.0)[1] == Grid(48, 38, 8.0)
    assert read_thumbnail(reader, 0.1)[1] == reader.slide.grid


class EndlessReader:
    """A one-level slide of any size, dark in one far pixel, that is never held anywhere."""

    unreadable_pixels = 0

    def __init__(self, side: int) -> None:
        self.slide = Slide("huge", "memory", (Grid(side, side, 0.25),), "manifest")
        self.largest = 0

    def read_region(self, region: Region, level: int) -> Pixels:
        self.largest = max(self.largest, region.area)
        pixels = np.full((region.height, region.width, 3), 200, np.uint8)
        far = Region(self.slide.grid.width - 100, self.slide.grid.height - 100, 100, 100).intersect(region)
        pixels[far.shift(-region.x, -region.y).slices] = 0
        return pixels

    def close(self) -> None: ...


def test_a_huge_level_is_never_held_whole() -> None:
    reader = EndlessReader(32_000)
    tracemalloc.start()
    thumbnail, grid = read_thumbnail(reader, 25.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reader.largest <= SQUARE**2
    assert peak < 40e6  # the level has 3 GB
    assert (thumbnail.shape, grid) == ((320, 320, 3), Grid(320, 320, 25.0))
    assert thumbnail[-1, -1].tolist() == [0, 0, 0]
    assert (thumbnail[:-1] == 200).all()


def test_the_real_slide(cmu_1: Path) -> None:
    thumbnail, grid = read_thumbnail(open_slide(cmu_1), 8.0)
    assert (grid.width, grid.height) == (139, 186)
    assert grid.mpp == pytest.approx(0.499 * 16)
    assert thumbnail.mean() == pytest.approx(205.6, abs=1)

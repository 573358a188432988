from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from tests.readers import ArrayReader, draw_noise
from wsiparse.geometry import Grid, Region
from wsiparse.slides.slide import Pixels
from wsiparse.tiles.resample import Taps, read_grid

scales = st.floats(0.3, 9.0, allow_nan=False)
regions = st.builds(Region, st.integers(-9, 60), st.integers(-9, 60), st.integers(1, 90), st.integers(1, 90))


def weigh_axis(start: int, count: int, scale: float, size: int | None = None) -> tuple[csr_array, int]:
    """Weights [count, source pixels] as a library's matrix, and the first source pixel."""
    taps = Taps.along(start, count, scale)
    taps = taps if size is None else taps.within(size)
    number = taps.weights.shape[1]
    columns = (taps.firsts[:, None] + np.arange(number)).ravel()
    rows = np.arange(0, count * number + 1, number)
    return csr_array((taps.weights.ravel(), columns, rows), shape=(count, taps.length)), taps.start


def weigh_region(reader: ArrayReader, scale: float, region: Region) -> Pixels:
    slide = reader.slide.grid
    across, x = weigh_axis(region.x, region.width, scale, slide.width)
    down, y = weigh_axis(region.y, region.height, scale, slide.height)
    pixels = reader.read_region(Region(x, y, across.shape[1], down.shape[1]), 0).astype(np.float32)
    rows = (down @ pixels.reshape(len(pixels), -1)).reshape(region.height, -1, 3)
    columns = across @ rows.transpose(1, 0, 2).reshape(rows.shape[1], -1)
    result: Pixels = (columns + np.float32(0.5)).reshape(region.width, -1, 3).transpose(1, 0, 2).astype(np.uint8)
    return result


@given(regions, st.sampled_from([0.5, 2, 3, 4, 16]) | scales, st.integers(0, 99))
@settings(deadline=None, max_examples=120)
def test_it_agrees_with_a_librarys_matrix_products_in_every_bit(region: Region, scale: float, seed: int) -> None:
    reader = ArrayReader(draw_noise(137, 151, seed))
    grid = reader.slide.grid.at_mpp(reader.slide.mpp * scale)
    exact = grid.scale_to(reader.slide.grid)
    np.testing.assert_array_equal(read_grid(reader, grid, region), weigh_region(reader, exact, region))


@given(st.integers(1, 70), st.integers(1, 70), scales)
@settings(deadline=None)
def test_nothing_from_beyond_the_slide_reaches_its_last_pixels(width: int, height: int, scale: float) -> None:
    reader = ArrayReader(np.full((height, width, 3), 10, np.uint8))
    grid = reader.slide.grid.at_mpp(reader.slide.mpp * scale)
    assert (read_grid(reader, grid, grid.region) == 10).all()
    assert (read_grid(reader, grid, Region(grid.width + 9, 0, 3, 3)) == 255).all()


def test_a_last_pixel_is_the_mean_of_what_of_it_lies_inside() -> None:
    pixels = np.repeat(np.array([[0, 0, 0, 0, 100, 200]], np.uint8), 4, 0)[..., None].repeat(3, 2)
    reader = ArrayReader(pixels)
    grid = reader.slide.grid.at_mpp(reader.slide.mpp * 4)
    assert read_grid(reader, grid, grid.region)[0, :, 0].tolist() == [0, 150]


@pytest.mark.parametrize("factor", [2, 4, 8, 16])
def test_halves_are_rounded_up(factor: int) -> None:
    pixels = np.zeros((factor, factor, 3), np.uint8)
    pixels[: factor // 2] = 1
    reader = ArrayReader(pixels)
    grid = reader.slide.grid.at_mpp(reader.slide.mpp * factor)
    assert read_grid(reader, grid, grid.region).tolist() == [[[1, 1, 1]]]


@given(st.integers(0, 200_000), st.integers(1, 50), scales)
@settings(deadline=None)
def test_weights_sum_to_one_and_centre_on_the_output_pixel(start: int, count: int, scale: float) -> None:
    weights, first = weigh_axis(start, count, scale)
    centres = np.arange(first, first + weights.shape[1]) + 0.5
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
    expected = (np.arange(start, start + count) + 0.5) * scale
    # A pixel that is partly covered counts with its own centre: at most f (1 - f) / 2 of a source pixel, f a fraction.
    np.testing.assert_allclose(weights @ (centres - first), expected - first, atol=0.13)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 40), st.floats(0.31, 2.9, allow_nan=False))
@settings(deadline=None, max_examples=60)
def test_overlapping_reads_agree_in_every_bit(x: int, y: int, side: int, mpp: float) -> None:
    reader = ArrayReader(draw_noise(137, 151))
    grid = reader.slide.grid.at_mpp(mpp)
    whole = read_grid(reader, grid, Region(-8, -8, 150, 150))
    part = read_grid(reader, grid, Region(x, y, side, side))
    np.testing.assert_array_equal(part, whole[y + 8 : y + 8 + side, x + 8 : x + 8 + side])


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ArrayReader(draw_noise(97, 101))
    grid = reader.slide.grid.at_mpp(0.73)
    whole = read_grid(reader, grid, grid.region)
    monkeypatch.setattr("wsiparse.tiles.resample.STRIP_PIXELS", 500)
    np.testing.assert_array_equal(read_grid(reader, grid, grid.region), whole)


def test_halving_is_the_mean_of_four() -> None:
    pixels = draw_noise(64, 64)
    half = read_grid(ArrayReader(pixels), Grid(32, 32, 1.0), Region(0, 0, 32, 32))
    mean = pixels.reshape(32, 2, 32, 2, 3).astype(float).mean((1, 3))
    np.testing.assert_allclose(half, mean, atol=0.5)


def test_a_stored_level_is_copied_not_resampled() -> None:
    pixels, coarse = draw_noise(64, 64), draw_noise(32, 32, seed=1)
    reader = ArrayReader(pixels, coarse)
    np.testing.assert_array_equal(read_grid(reader, reader.slide.levels[1], Region(0, 0, 32, 32)), coarse)


def test_a_dot_far_from_the_corner_stays_where_it_is() -> None:
    weights, first = weigh_axis(74_990, 20, 0.5 / 0.2527)
    dot = 148_400.0  # level-0 pixel whose centre is followed
    column = weights[:, [int(dot) - first]].toarray().ravel()
    place = (74_990 + (column * (np.arange(20) + 0.5)).sum() / column.sum()) * 0.5 / 0.2527
    assert abs(place - (dot + 0.5)) < 1.0

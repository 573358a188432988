from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.readers import ArrayReader, draw_noise
from wsiparse.geometry import Grid, Region
from wsiparse.tiles.resample import read_grid, weigh_pixels

scales = st.floats(0.3, 9.0, allow_nan=False)


@given(st.integers(0, 200_000), st.integers(1, 50), scales)
@settings(deadline=None)
def test_weights_sum_to_one_and_centre_on_the_output_pixel(start: int, count: int, scale: float) -> None:
    weights, first = weigh_pixels(start, count, scale)
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
    weights, first = weigh_pixels(74_990, 20, 0.5 / 0.2527)
    dot = 148_400.0  # level-0 pixel whose centre is followed
    column = weights[:, [int(dot) - first]].toarray().ravel()
    place = (74_990 + (column * (np.arange(20) + 0.5)).sum() / column.sum()) * 0.5 / 0.2527
    assert abs(place - (dot + 0.5)) < 1.0

"""Whole factors give the bytes that the weights of any factor give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.readers import ArrayReader, draw_noise
from wsiparse.geometry import Region
from wsiparse.slides.slide import Pixels
from wsiparse.tiles.resample import read_grid, weigh_pixels
from wsiparse.tiles.whole_factors import find_factor

FACTORS = [2, 3, 4, 5, 7, 8, 9, 11, 13, 15, 16]
regions = st.builds(Region, st.integers(-9, 60), st.integers(-9, 60), st.integers(1, 90), st.integers(1, 90))


def weigh(reader: ArrayReader, scale: float, region: Region) -> Pixels:
    (across, x), (down, y) = weigh_pixels(region.x, region.width, scale), weigh_pixels(region.y, region.height, scale)
    pixels = reader.read_region(Region(x, y, across.shape[1], down.shape[1]), 0).astype(np.float32)
    rows = (down @ pixels.reshape(len(pixels), -1)).reshape(region.height, -1, 3)
    columns = across @ rows.transpose(1, 0, 2).reshape(rows.shape[1], -1)
    result: Pixels = (columns + np.float32(0.5)).reshape(region.width, -1, 3).transpose(1, 0, 2).astype(np.uint8)
    return result


@given(regions, st.sampled_from([0.5, *FACTORS]), st.integers(0, 99))
@settings(deadline=None, max_examples=120)
def test_whole_numbers_and_weights_agree_in_every_bit(region: Region, scale: float, seed: int) -> None:
    reader = ArrayReader(draw_noise(137, 151, seed))
    grid = reader.slide.grid.at_mpp(reader.slide.mpp * scale)
    np.testing.assert_array_equal(read_grid(reader, grid, region), weigh(reader, scale, region))


@pytest.mark.parametrize("factor", [2, 4, 8, 16])
def test_halves_are_rounded_up(factor: int) -> None:
    pixels = np.zeros((factor, factor, 3), np.uint8)
    pixels[: factor // 2] = 1
    reader = ArrayReader(pixels)
    grid = reader.slide.grid.at_mpp(reader.slide.mpp * factor)
    assert read_grid(reader, grid, grid.region).tolist() == [[[1, 1, 1]]]


def test_what_float32_may_round_either_way_is_left_to_it() -> None:
    assert [factor for factor in range(20) if find_factor(factor)] == FACTORS
    assert [find_factor(scale) for scale in (0.5, 2.1, 2.999, 3 + 1e-12)] == [None, None, None, 3]

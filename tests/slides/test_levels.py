from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsiparse.geometry import Region
from wsiparse.slides.levels import build_levels, cut_region, measure_downsample


@settings(deadline=None, max_examples=200)
@given(
    width=st.integers(2_000, 200_000),
    height=st.integers(2_000, 200_000),
    power=st.integers(0, 6),
    cut=st.sampled_from([math.floor, math.ceil, round]),
)
def test_halving_and_rounding_give_the_exact_ratio(
    width: int, height: int, power: int, cut: Callable[[float], int]
) -> None:
    downsample = 2**power
    assert measure_downsample((width, height), (cut(width / downsample), cut(height / downsample))) == downsample


@settings(deadline=None, max_examples=100)
@given(width=st.integers(20_000, 200_000), height=st.integers(20_000, 200_000), downsample=st.integers(1, 20))
def test_any_integer_ratio_of_a_large_slide_is_exact(width: int, height: int, downsample: int) -> None:
    assert measure_downsample((width, height), (width // downsample, height // downsample)) == downsample


def test_a_ratio_that_is_no_integer_is_the_mean_of_both_axes() -> None:
    assert measure_downsample((15000, 9000), (6000, 3600)) == 2.5


def test_a_landmark_at_the_far_corner_of_a_huge_slide_stays() -> None:
    levels = build_levels([(150_001, 99_999), (37_500, 24_999), (9_375, 6_249), (2_343, 1_562)], 0.25)
    for level in levels:
        assert 150_000 * levels[0].scale_to(level) * level.mpp == pytest.approx(150_000 * 0.25, abs=1e-6)


@settings(deadline=None, max_examples=60)
@given(
    x=st.integers(-50, 50),
    y=st.integers(-50, 50),
    width=st.integers(0, 90),
    height=st.integers(0, 90),
    cell=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_parts_cover_a_region_once_and_stay_in_their_cells(
    x: int, y: int, width: int, height: int, cell: tuple[int, int]
) -> None:
    counts = np.zeros((200, 200), int)
    for part in cut_region(Region(x, y, width, height), cell):
        assert part.area > 0
        assert part.x // cell[0] == (part.right - 1) // cell[0]
        assert part.y // cell[1] == (part.bottom - 1) // cell[1]
        counts[part.shift(50, 50).slices] += 1
    expected = np.zeros_like(counts)
    expected[50 + y : 50 + y + height, 50 + x : 50 + x + width] = 1
    np.testing.assert_array_equal(counts, expected)

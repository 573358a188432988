from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsiparse.training.touching import REACH, find_borders


def draw_neighbours(distance: int) -> NDArray[np.uint8]:
    """Two squares, so many pixels of background between them."""
    numbers = np.zeros((12, 30), np.uint8)
    numbers[2:10, 4:12], numbers[2:10, 12 + distance : 20 + distance] = 7, 3
    return numbers


@given(st.integers(0, 2 * REACH - 1))
def test_a_border_lies_in_the_middle_between_two_near_objects(distance: int) -> None:
    borders = find_borders(draw_neighbours(distance))[2:10]
    columns = np.flatnonzero(borders.any(0))
    assert borders[:, columns].all()
    assert columns.tolist() == list(range(10 + distance, 14))


def test_far_objects_and_the_rim_of_one_are_no_border() -> None:
    numbers = draw_neighbours(2 * REACH)
    assert not find_borders(numbers).any()
    assert not find_borders(np.minimum(numbers, 1)).any()
    assert not find_borders(np.zeros((0, 5), int)).any()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_a_border_sees_two_objects_whatever_their_numbers(seed: int) -> None:
    random = np.random.default_rng(seed)
    numbers = random.integers(0, 4, (9, 11)) * (random.random((9, 11)) < 0.2)
    framed = np.pad(numbers, REACH)
    windows = np.lib.stride_tricks.sliding_window_view(framed, (2 * REACH + 1, 2 * REACH + 1))
    seen = np.array([[len(set(window[window > 0].tolist())) for window in row] for row in windows])
    assert np.array_equal(find_borders(numbers), seen > 1)
    assert np.array_equal(find_borders(np.where(numbers > 0, 9 - numbers, 0)), seen > 1)

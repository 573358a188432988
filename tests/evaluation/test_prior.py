"""Aligned means against SciPy's direct correlation and shapes whose shifts are known."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from wsiparse.evaluation.prior import align, average_aligned, shift


def draw_blob() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    rows, columns = np.indices((32, 40))
    blob = np.exp(-(((rows - 15) / 4) ** 2 + ((columns - 20) / 7) ** 2))
    return np.asarray(blob + 0.5 * (np.abs(rows - 12) < 2) * (np.abs(columns - 24) < 3))


@settings(deadline=None, max_examples=40)
@given(st.integers(-7, 7), st.integers(-7, 7))
def test_a_moved_shape_is_moved_back(dy: int, dx: int) -> None:
    blob = draw_blob()
    np.testing.assert_allclose(align(shift(blob, dy, dx), blob)[10:-10, 10:-10], blob[10:-10, 10:-10], atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(2, 12), st.integers(2, 12))
def test_the_shift_is_that_of_the_direct_correlation(seed: int, height: int, width: int) -> None:
    window, total = np.random.default_rng(seed).random((2, height, width))
    direct = signal.correlate(total, window, mode="full", method="direct")
    dy, dx = np.array(np.unravel_index(direct.argmax(), direct.shape)) - (height - 1, width - 1)
    np.testing.assert_array_equal(align(window, total), shift(window, int(dy), int(dx)))


def test_the_mean_of_one_shape_at_many_places_is_the_shape() -> None:
    blob = draw_blob()
    moved = [shift(blob, dy, dx) for dy, dx in ((0, 0), (3, -2), (-5, 4), (1, 6))]
    mean = average_aligned(moved)
    assert mean is not None
    np.testing.assert_allclose(mean[10:-10, 10:-10], blob[10:-10, 10:-10], atol=1e-12)
    assert mean.max() > 1.3 * np.mean(moved, axis=0).max()


def test_windows_without_a_probability_stay_where_they_are_and_none_have_no_mean() -> None:
    blob = draw_blob()
    mean = average_aligned([blob, np.zeros_like(blob)])
    assert mean is not None
    np.testing.assert_allclose(mean, blob / 2)
    assert average_aligned([]) is None

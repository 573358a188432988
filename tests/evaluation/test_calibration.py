"""Calibration against a sort of every single pixel into its bin."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsiparse.errors import InputError
from wsiparse.evaluation.calibration import Calibration, count_calibration, measure_reliability

EMPTY = Calibration(np.zeros(256, np.int64), np.zeros(256, np.int64))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 400), st.sampled_from([1, 2, 10, 15, 51, 256]))
def test_bins_hold_the_pixels_that_belong_there(seed: int, count: int, bins: int) -> None:
    generator = np.random.default_rng(seed)
    values, truth = generator.integers(0, 256, count, dtype=np.uint8), generator.random(count) < 0.4
    curve = measure_reliability(count_calibration(values, truth), bins)
    places = [min(int(Fraction(int(value), 255) * bins), bins - 1) for value in values]
    error = 0.0
    for place in range(bins):
        inside = np.array([p == place for p in places])
        assert curve.pixels[place] == inside.sum()
        predicted = values[inside].mean() / 255 if inside.any() else math.nan
        observed = truth[inside].mean() if inside.any() else math.nan
        assert curve.predicted[place] == pytest.approx(predicted, nan_ok=True)
        assert curve.observed[place] == pytest.approx(observed, nan_ok=True)
        error += abs(predicted - observed) * inside.mean() if inside.any() else 0.0
    assert curve.expected_error == pytest.approx(error)
    assert 0 <= curve.expected_error <= curve.largest_error + 1e-12 <= 1 + 1e-12


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_blocks_add_up_and_the_brier_score_is_a_mean_square(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values, truth = generator.integers(0, 256, (20, 30), dtype=np.uint8), generator.random((20, 30)) < 0.5
    whole = count_calibration(values, truth)
    parts = sum((count_calibration(values[n : n + 7], truth[n : n + 7]) for n in range(0, 20, 7)), EMPTY)
    np.testing.assert_array_equal(parts.pixels, whole.pixels)
    np.testing.assert_array_equal(parts.hits, whole.hits)
    assert whole.brier == pytest.approx(np.mean((values / 255 - truth) ** 2))


def test_pixels_that_are_not_compared_are_not_counted() -> None:
    generator = np.random.default_rng(1)
    values = generator.integers(0, 256, (20, 30), dtype=np.uint8)
    truth, compared = generator.random((2, 20, 30)) < 0.5
    some, same = count_calibration(values, truth, compared), count_calibration(values[compared], truth[compared])
    np.testing.assert_array_equal(some.pixels, same.pixels)
    np.testing.assert_array_equal(some.hits, same.hits)


def test_pixels_that_are_right_as_often_as_they_say_have_no_error() -> None:
    generator = np.random.default_rng(0)
    values = generator.integers(0, 256, 400_000, dtype=np.uint8)
    honest = count_calibration(values, generator.random(400_000) < values / 255)
    assert measure_reliability(honest).expected_error < 0.01
    boastful = count_calibration(np.full(1000, 255, np.uint8), np.arange(1000) < 600)
    assert measure_reliability(boastful).expected_error == pytest.approx(0.4)


def test_no_pixels_have_no_error() -> None:
    curve = measure_reliability(EMPTY)
    assert math.isnan(curve.expected_error)
    assert math.isnan(curve.largest_error)
    assert math.isnan(EMPTY.brier)


@pytest.mark.parametrize("bins", [0, 257])
def test_more_bins_than_probabilities_are_refused(bins: int) -> None:
    with pytest.raises(InputError, match="bins"):
        measure_reliability(EMPTY, bins)

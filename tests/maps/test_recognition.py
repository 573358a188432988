from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wsiparse.maps.recognition import NEVER, label_type, quantize_threshold, recognize


def cuts_at(*thresholds: float) -> tuple[int, ...]:
    return tuple(quantize_threshold(threshold) for threshold in thresholds)


def recognize_pixel(values: list[int], thresholds: list[float]) -> int:
    """The rule in words: of those that pass their threshold, the first with the largest p."""
    passing = [(-p, n) for n, (p, t) in enumerate(zip(values, thresholds, strict=True), start=1) if p / 255 >= t]
    return min(passing)[1] if passing else 0


@settings(deadline=None, max_examples=60)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 7))),
    st.lists(st.integers(1, 99), min_size=5, max_size=5),
)
def test_every_pixel_follows_the_rule(
    probabilities: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], percent: list[int]
) -> None:
    thresholds = [p / 100 for p in percent[: len(probabilities)]]
    labels = recognize(probabilities, cuts_at(*thresholds))
    for y, x in np.ndindex(labels.shape):
        assert labels[y, x] == recognize_pixel(probabilities[:, y, x].tolist(), thresholds)


def test_the_earlier_target_wins_a_tie_and_a_target_below_its_threshold_does_not_compete() -> None:
    probabilities = np.array([[[200, 200, 120]], [[200, 210, 130]], [[0, 220, 0]]], np.uint8)
    assert recognize(probabilities, cuts_at(0.5, 0.5, 0.9)).tolist() == [[1, 2, 2]]


def test_a_target_that_never_reaches_its_cut_leaves_its_pixels_to_the_others() -> None:
    probabilities = np.array([[[255, 200, 90]], [[200, 210, 80]]], np.uint8)
    assert recognize(probabilities, (NEVER, 128)).tolist() == [[2, 2, 0]]
    assert recognize(probabilities, (NEVER, NEVER)).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(("threshold", "cut"), [(0.5, 128), (0.6, 153), (0.2, 51), (0.7, 179), (1e-9, 1), (0.999, 255)])
def test_the_integer_threshold_is_the_smallest_value_that_reaches_it(threshold: float, cut: int) -> None:
    assert quantize_threshold(threshold) == cut


def test_a_map_larger_than_a_strip_is_the_same_as_its_parts() -> None:
    probabilities = np.random.default_rng(3).integers(0, 256, (3, 700, 611), dtype=np.uint8)
    cuts = cuts_at(0.5, 0.4, 0.7)
    parts = [recognize(probabilities[:, top : top + 100], cuts) for top in range(0, 700, 100)]
    assert np.array_equal(recognize(probabilities, cuts), np.concatenate(parts))


def test_more_than_255_targets_take_two_bytes() -> None:
    probabilities = np.zeros((300, 1, 2), np.uint8)
    probabilities[299, 0, 1] = 255
    labels = recognize(probabilities, cuts_at(*[0.5] * 300))
    assert labels.dtype == np.uint16
    assert labels.tolist() == [[0, 300]]
    assert label_type(255) is np.uint8

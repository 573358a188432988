"""Agreement of readers against Dice computed pair by pair."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsiparse.evaluation.agreement import count_agreement


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_pairs_of_readers_have_the_dice_of_their_masks(seed: int, readers: int) -> None:
    generator = np.random.default_rng(seed)
    masks = list(generator.random((readers, 12, 17)) < generator.random((readers, 1, 1)))
    agreement = count_agreement([mask[:5] for mask in masks]) + count_agreement([mask[5:] for mask in masks])
    for row, one in enumerate(masks):
        for column, other in enumerate(masks):
            size = int(one.sum() + other.sum())
            expected = 2 * int((one & other).sum()) / size if size else math.nan
            assert agreement.dice[row, column] == pytest.approx(expected, nan_ok=True)
    pairs = [agreement.dice[n, m] for n in range(readers) for m in range(n + 1, readers)]
    assert agreement.mean_dice == pytest.approx(np.mean(pairs) if pairs else math.nan, nan_ok=True)


def test_a_model_is_compared_with_the_others_only() -> None:
    one = np.zeros((4, 4), np.bool_)
    one[:2] = True
    agreement = count_agreement([one, one, ~one, np.ones((4, 4), np.bool_)])
    assert agreement.compare_reader(0) == pytest.approx((1 + 0 + 2 / 3) / 3)


def test_readers_who_drew_nothing_neither_agree_nor_disagree() -> None:
    empty, full = np.zeros((2, 2), np.bool_), np.ones((2, 2), np.bool_)
    agreement = count_agreement([empty, empty, full])
    assert math.isnan(agreement.dice[0, 1])
    assert agreement.mean_dice == 0
    assert math.isnan(count_agreement([full]).mean_dice)
    assert math.isnan(count_agreement([full]).compare_reader(0))

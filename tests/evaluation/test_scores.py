from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.spatial import distance

from wsiparse.evaluation.scores import Score, drop_unannotated, pool_scores, summarize_cohort

PAIR = st.integers(1, 8).flatmap(lambda n: st.tuples(arrays(np.bool_, (n, 7)), arrays(np.bool_, (n, 7))))


def score_of(predicted: NDArray[np.bool_], drawn: NDArray[np.bool_], slide: str = "s") -> Score:
    return Score(slide, "gland", int((predicted & drawn).sum()), int(predicted.sum()), int(drawn.sum()))


@settings(deadline=None, max_examples=100)
@given(PAIR)
def test_every_measure_is_its_definition_over_sets_of_pixels(pair: tuple[NDArray[np.bool_], NDArray[np.bool_]]) -> None:
    p, r = ({tuple(place) for place in np.argwhere(mask)} for mask in pair)
    score = score_of(*pair)
    for found, part, whole in (
        (score.dice, 2 * len(p & r), len(p) + len(r)),
        (score.iou, len(p & r), len(p | r)),
        (score.precision, len(p & r), len(p)),
        (score.recall, len(p & r), len(r)),
    ):
        assert found == part / whole if whole else math.isnan(found)


@settings(deadline=None, max_examples=100)
@given(PAIR)
def test_dice_and_iou_are_scipys(pair: tuple[NDArray[np.bool_], NDArray[np.bool_]]) -> None:
    score = score_of(*pair)
    if not any(mask.any() for mask in pair):
        return  # SciPy calls two empty masks alike, here they have no score
    predicted, drawn = (mask.ravel() for mask in pair)
    assert score.dice == pytest.approx(1 - distance.dice(predicted, drawn))
    assert score.iou == pytest.approx(1 - distance.jaccard(predicted, drawn))


@settings(deadline=None, max_examples=60)
@given(PAIR, st.integers(0, 7), st.integers(0, 7))
def test_the_score_of_the_parts_is_the_score_of_the_whole(
    pair: tuple[NDArray[np.bool_], NDArray[np.bool_]], row: int, column: int
) -> None:
    predicted, drawn = pair
    cuts = [np.s_[:row, :column], np.s_[:row, column:], np.s_[row:, :column], np.s_[row:, column:]]
    assert pool_scores([score_of(predicted[cut], drawn[cut]) for cut in cuts], "s") == score_of(predicted, drawn)


def test_the_cohort_is_the_dice_of_the_sums_and_the_means_over_defined_slides() -> None:
    scores = [
        Score("a", "gland", 10, 20, 20, 3),
        Score("a", "tumour", 0, 0, 0),
        Score("b", "gland", 90, 100, 100, 4),
        Score("c", "gland", 0, 0, 0),
    ]
    gland, tumour = summarize_cohort(scores)
    assert gland.pooled == Score("", "gland", 100, 120, 120, 7)
    assert gland.pooled.dice == pytest.approx(200 / 240)
    assert (gland.slides, gland.scored) == (3, 2)
    assert gland.mean_dice == gland.median_dice == pytest.approx((0.5 + 0.9) / 2)
    assert gland.mean_iou == pytest.approx((10 / 30 + 90 / 110) / 2)
    assert (tumour.target, tumour.scored) == ("tumour", 0)
    assert math.isnan(tumour.mean_dice)
    assert math.isnan(tumour.pooled.dice)


def test_targets_that_nobody_drew_on_any_slide_can_be_dropped() -> None:
    scores = [Score("a", "gland", 0, 5, 0), Score("a", "tumour", 0, 5, 0), Score("b", "gland", 1, 5, 2)]
    assert drop_unannotated(scores) == [scores[0], scores[2]]

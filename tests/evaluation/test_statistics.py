"""Intervals and tests against SciPy, enumeration and theory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from wsiparse.errors import InputError
from wsiparse.evaluation.statistics import (
    Comparison,
    Resampling,
    Statistic,
    Values,
    compare_runs,
    estimate_interval,
    mean_rows,
    median_rows,
    pool_dice,
    summarize_dice,
)

COUNTS = np.random.default_rng(0).integers([0, 1000, 1500], [1000, 2000, 2500], (25, 3)).astype(np.float64)
NAN = math.nan


def row_dice(counts: Values) -> Values:
    return 2 * counts[:, 0] / (counts[:, 1] + counts[:, 2])


def test_the_three_ways_of_a_cohort() -> None:
    result = summarize_dice(COUNTS)
    sums = COUNTS.sum(axis=0)
    assert result.micro.value == pytest.approx(2 * sums[0] / (sums[1] + sums[2]))
    assert result.macro.value == pytest.approx(np.mean(row_dice(COUNTS)))
    assert result.median.value == pytest.approx(np.median(row_dice(COUNTS)))
    for estimate in (result.micro, result.macro, result.median):
        assert estimate.low < estimate.value < estimate.high
        assert estimate.slides == len(COUNTS)


@pytest.mark.parametrize(("statistic", "plain"), [(mean_rows, np.mean), (median_rows, np.median)])
def test_intervals_are_scipys_percentile_bootstrap(statistic: Statistic, plain: Callable[..., Values]) -> None:
    values = row_dice(COUNTS)
    drawn = stats.bootstrap((values,), plain, n_resamples=20000, method="percentile", rng=1).confidence_interval
    ours = estimate_interval(values, statistic, Resampling(drawings=20000))
    assert (ours.low, ours.high) == pytest.approx((drawn.low, drawn.high), abs=0.1 * (drawn.high - drawn.low))


def test_the_micro_interval_is_scipys_too() -> None:
    def plain(both: Values, predicted: Values, reference: Values, axis: int) -> Values:
        return np.asarray(2 * both.sum(axis=axis) / (predicted + reference).sum(axis=axis))

    drawn = stats.bootstrap(tuple(COUNTS.T), plain, paired=True, n_resamples=20000, method="percentile", rng=1)
    ours = estimate_interval(COUNTS, pool_dice, Resampling(drawings=20000))
    wanted = drawn.confidence_interval
    assert (ours.low, ours.high) == pytest.approx((wanted.low, wanted.high), abs=0.1 * (wanted.high - wanted.low))


def test_three_slides_can_be_drawn_in_27_ways_only() -> None:
    values = np.array([0.2, 0.5, 0.9])
    means = sorted(float(np.mean(draw)) for draw in itertools.product(values, repeat=3))
    ours = estimate_interval(values, mean_rows, Resampling(confidence=0.9, drawings=50000))
    assert ours.low == pytest.approx(np.quantile(means, 0.05), abs=1e-9)
    assert ours.high == pytest.approx(np.quantile(means, 0.95), abs=1e-9)


def test_equal_settings_give_equal_intervals_whatever_is_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = estimate_interval(COUNTS, pool_dice)
    assert estimate_interval(COUNTS, pool_dice) == first
    assert estimate_interval(COUNTS, pool_dice, Resampling(seed=1)) != first
    monkeypatch.setattr("wsiparse.evaluation.statistics._DRAWN_AT_ONCE", 100)
    assert estimate_interval(COUNTS, pool_dice) == first


def test_the_interval_covers_what_it_promises() -> None:
    generator = np.random.default_rng(3)
    hits = 0
    for trial in range(200):
        estimate = estimate_interval(generator.normal(0.7, 0.1, 40), mean_rows, Resampling(drawings=500, seed=trial))
        hits += estimate.low <= 0.7 <= estimate.high
    assert 0.88 <= hits / 200 <= 0.99


def test_slides_without_either_are_no_slides_of_the_mean() -> None:
    result = summarize_dice([*COUNTS.tolist(), [0, 0, 0]])
    assert result.macro.slides == len(COUNTS)
    assert result.macro == summarize_dice(COUNTS).macro
    assert result.micro.value == summarize_dice(COUNTS).micro.value


@pytest.mark.parametrize(("counts", "value"), [([], NAN), ([[0, 0, 0]], NAN), ([[2, 4, 4]], 0.5)])
def test_less_than_two_slides_have_no_interval(counts: list[list[int]], value: float) -> None:
    result = summarize_dice(counts)
    for estimate in (result.micro, result.macro, result.median):
        assert estimate.value == pytest.approx(value, nan_ok=True)
        assert math.isnan(estimate.low)
        assert math.isnan(estimate.high)


def test_drawings_of_empty_slides_only_are_left_out() -> None:
    result = summarize_dice([[0, 0, 0], [5, 10, 10]])
    assert (result.micro.low, result.micro.high) == (0.5, 0.5)
    assert math.isnan(summarize_dice([[0, 0, 0]] * 3).micro.low)


@pytest.mark.parametrize(("confidence", "drawings"), [(0.0, 10), (1.0, 10), (0.95, 0)])
def test_impossible_settings_are_refused(confidence: float, drawings: int) -> None:
    with pytest.raises(InputError, match="expected a confidence"):
        Resampling(confidence, drawings)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 10**6), min_size=3, max_size=9, unique=True), st.integers(0, 2**32))
def test_wilcoxon_is_the_share_of_signs_at_least_as_extreme(sizes: list[int], seed: int) -> None:
    signs = np.random.default_rng(seed).choice([-1, 1], len(sizes))
    differences = np.array(sizes) * signs / 1e6
    ranks = stats.rankdata(sizes)
    rank_sums = [ranks[list(taken)].sum() for taken in itertools.product([False, True], repeat=len(sizes))]
    observed = abs(ranks[signs > 0].sum() - ranks.sum() / 2)
    expected = np.mean([abs(total - ranks.sum() / 2) >= observed - 1e-9 for total in rank_sums])
    assert compare_runs(np.zeros(len(sizes)), differences).wilcoxon_p == pytest.approx(expected)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 30), st.integers(0, 2**32))
def test_t_is_scipys_paired_test(count: int, seed: int) -> None:
    first, second = np.random.default_rng(seed).random((2, count))
    result = compare_runs(first, second)
    assert result.t_p == pytest.approx(stats.ttest_rel(second, first).pvalue)
    assert result.mean.value == pytest.approx(np.mean(second - first))
    assert result.median == pytest.approx(np.median(second - first))


def test_differences_that_are_equal_on_paper_share_a_rank() -> None:
    first = np.array([0.8, 0.7, 0.6, 0.5, 0.4, 0.5, 0.3])
    second = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.1 + 0.2])
    assert len(set(np.abs(second - first).tolist())) > 2
    assert compare_runs(first, second).wilcoxon_p == pytest.approx(2 * (1 + 6) / 2**6)  # five of six signs are equal


def test_slides_without_a_score_in_either_run_are_left_out() -> None:
    first, second = [0.5, NAN, 0.7, 0.9], [0.6, 0.8, NAN, 0.8]
    result = compare_runs(first, second)
    assert result.mean.slides == 2
    assert result.mean.value == pytest.approx(0.0)


def p_values(result: Comparison) -> tuple[float, float]:
    return result.wilcoxon_p, result.t_p


def test_runs_that_do_not_differ_and_runs_that_differ_by_a_constant() -> None:
    values = np.arange(8) / 8
    assert p_values(compare_runs(values, values)) == (1.0, 1.0)
    shifted = compare_runs(values, values + 0.25)
    assert shifted.t_p == 0.0
    assert shifted.wilcoxon_p < 0.05
    assert (shifted.mean.low, shifted.mean.high) == (0.25, 0.25)


def test_nothing_to_compare_has_no_p_value() -> None:
    assert all(math.isnan(p) for p in p_values(compare_runs([], [])))
    assert p_values(compare_runs([0.5], [0.75])) == pytest.approx((1.0, NAN), nan_ok=True)


def test_runs_over_other_slides_are_refused() -> None:
    with pytest.raises(InputError, match="align them"):
        compare_runs([0.5], [0.5, 0.6])

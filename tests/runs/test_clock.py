"""Stages inside stages, and how long a slide's model waited, against a count of moments."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.runs.clock import StageClock, Times, find_model_wait, sum_seconds

WAITS = st.lists(st.tuples(*[st.integers(0, 12)] * 4).map(sorted), max_size=6)
"""When blocks began, when a model took them up and let them go, and when they were stored."""


def test_a_stage_inside_another_is_taken_out_of_it() -> None:
    clock = StageClock()
    with clock.measure("outer"):
        time.sleep(0.02)
        for _ in range(2):
            with clock.measure("inner"):
                time.sleep(0.03)
    span = clock.stop().span
    assert clock.seconds["inner"] >= 0.06
    assert sum(clock.seconds.values()) == pytest.approx(span[1] - span[0], abs=0.02)
    assert clock.seconds["outer"] < clock.seconds["inner"]


def test_a_clock_goes_on_where_the_last_one_stopped() -> None:
    first = StageClock()
    with first.measure_model():
        pass
    second = StageClock(first.stop())
    with second.measure("write"):
        pass
    times = second.stop()
    assert times.predicting == first.predicting
    assert times.span[0] == first.began
    assert set(sum_seconds([times, times])) == {"predict", "write"}


@given(WAITS)
def test_the_model_waits_in_moments_in_which_no_block_is_predicted(blocks: list[list[int]]) -> None:
    times = [Times({}, (a, d), (b, c)) for a, b, c, d in blocks]
    others = [Times({}, (-5.0, 50.0), None)]
    if not blocks:
        assert find_model_wait(others) is None
        return
    start, stop = min(block[0] for block in blocks), max(block[3] for block in blocks)
    idle = [all(not b <= moment < c for _, b, c, _ in blocks) for moment in range(start, stop)]
    assert find_model_wait(times + others) == pytest.approx(sum(idle) / len(idle) if idle else 0.0)

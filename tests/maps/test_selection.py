from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from safetensors.numpy import load_file

from wsiparse.maps.selection import (
    CODE,
    PAPER,
    Rule,
    combine_masks,
    measure_support,
    recognize_as_code,
    recognize_as_paper,
    select_targets,
    suppress_overlaps,
)

DATA = Path(__file__).parents[1] / "data" / "biomedparse"
CELLS = ["connective tissue cells", "inflammatory cells", "neoplastic cells", "epithelial cells"]
SETS = ["overlap", "disjoint", "noisy", "empty"]

arrays: dict[str, Any] = load_file(DATA / "post_golden.safetensors")
numbers: dict[str, Any] = json.loads((DATA / "post_golden.json").read_text())

maps = hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(5), st.just(6)), elements=st.floats(0, 1, width=16))


def p_values(name: str) -> list[float]:
    return [numbers[name]["p_values"][target] for target in CELLS]


def masks_of(codes: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    return {CELLS[code - 1]: codes == code for code in np.unique(codes) if code}


@pytest.mark.parametrize("name", SETS)
def test_aggregation_is_the_official_one(name: str) -> None:
    probabilities = arrays[f"{name}.prob"]
    kept = select_targets(measure_support(probabilities, CODE.floor), CODE)
    assert [CELLS[k] for k in kept] == numbers[name]["combined"]
    codes = combine_masks(probabilities, kept)
    for k in kept:
        np.testing.assert_array_equal(codes == k + 1, arrays[f"{name}.combine.{CELLS[k]}"] > 0)


@pytest.mark.parametrize("name", SETS)
def test_suppression_is_the_official_one(name: str) -> None:
    kept = suppress_overlaps(arrays[f"{name}.prob"], p_values(name))
    assert [CELLS[k] for k in kept] == numbers[name]["nms"]


@pytest.mark.parametrize("name", SETS[:3])
def test_the_whole_recognition_is_the_official_one(name: str) -> None:
    found = masks_of(recognize_as_code(arrays[f"{name}.prob"], p_values(name)))
    assert set(found) == set(numbers[name]["nms_combined"])
    for target, mask in found.items():
        np.testing.assert_array_equal(mask, arrays[f"{name}.nms_combine.{target}"] > 0)


def test_an_image_with_nothing_in_it_is_empty_where_the_official_code_crashes() -> None:
    assert "IndexError" in numbers["empty"]["nms_combine_error"]
    assert not recognize_as_code(arrays["empty.prob"], p_values("empty")).any()
    assert not recognize_as_paper(arrays["empty.prob"]).any()


def test_the_paper_drops_a_target_that_loses_half_of_its_pixels() -> None:
    winner, loser = np.zeros((2, 1, 4), np.float32)
    winner[:] = 0.9, 0.9, 0.1, 0.1
    loser[:] = 0.6, 0.6, 0.7, 0.8
    probabilities = np.stack([winner, loser])
    assert select_targets(measure_support(probabilities, PAPER.floor), PAPER) == [0]
    lenient = Rule(floor=0.5, share=0.4, strict=True, keep_best=False)
    assert select_targets(measure_support(probabilities, 0.5), lenient) == [0, 1]
    assert recognize_as_paper(probabilities).tolist() == [[1, 1, 0, 0]]


@settings(deadline=None, max_examples=60)
@given(maps)
def test_the_paper_way_equals_its_words_pixel_by_pixel(probabilities: NDArray[np.float32]) -> None:
    count = len(probabilities)
    area, won = [0] * count, [0] * count
    for column in probabilities.reshape(count, -1).T:
        ranked = [k for k in range(count) if column[k] > 0.5]
        for k in ranked:
            area[k] += 1
        if ranked:
            won[max(ranked, key=lambda k: column[k])] += 1
    kept = [k for k in range(count) if won[k] > PAPER.share * area[k]]
    codes = [
        max((k for k in kept if column[k] > 0.5), key=lambda k: column[k], default=-1) + 1
        for column in probabilities.reshape(count, -1).T
    ]
    assert recognize_as_paper(probabilities).ravel().tolist() == codes


@settings(deadline=None, max_examples=30)
@given(maps, st.integers(1, 4), st.sampled_from([PAPER, CODE]))
def test_support_adds_up_over_parts_of_an_image(probabilities: NDArray[np.float32], cut: int, rule: Rule) -> None:
    whole = measure_support(probabilities, rule.floor)
    parts = measure_support(probabilities[:, :cut], rule.floor) + measure_support(probabilities[:, cut:], rule.floor)
    np.testing.assert_array_equal(whole.area, parts.area)
    np.testing.assert_array_equal(whole.won, parts.won)
    np.testing.assert_allclose(whole.mass, parts.mass)

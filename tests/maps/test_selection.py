from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from safetensors.numpy import load_file

from wsiparse.maps.recognition import Labels, recognize
from wsiparse.maps.selection import (
    CODE,
    MASK,
    PAPER,
    Rule,
    Support,
    add_support,
    count_overlaps,
    cut_above,
    measure_support,
    select_present,
    select_targets,
    suppress_overlaps,
)

DATA = Path(__file__).parents[1] / "data" / "biomedparse"
CELLS = ["connective tissue cells", "inflammatory cells", "neoplastic cells", "epithelial cells"]
SETS = ["overlap", "disjoint", "noisy", "empty"]

arrays: dict[str, Any] = load_file(DATA / "post_golden.safetensors")
numbers: dict[str, Any] = json.loads((DATA / "post_golden.json").read_text())

HALF, TENTH = (float(np.nextafter(np.float32(p), np.float32(1))) for p in (0.5, 0.1))
"""Cuts of fractions: what is above 0.5, and above 0.1."""
NOWHERE = 2.0

stored = hnp.arrays(np.uint8, st.tuples(st.integers(1, 4), st.just(5), st.just(6)))
maps = hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(5), st.just(6)), elements=st.floats(0, 1, width=16))


def p_values(name: str) -> list[float]:
    return [numbers[name]["p_values"][target] for target in CELLS]


def combine_masks(values: NDArray[Any], kept: list[int], cut: float = HALF) -> Labels:
    return recognize(values, [cut if k in kept else NOWHERE for k in range(len(values))])


def recognize_as_paper(values: NDArray[Any], cut: float = HALF) -> Labels:
    return combine_masks(values, select_targets(measure_support(values, cut), PAPER), cut)


def recognize_as_code(values: NDArray[Any], plausibility: list[float]) -> Labels:
    kept = sorted(suppress_overlaps(count_overlaps(values, HALF), plausibility))
    present = select_targets(measure_support(values[kept], TENTH), CODE)
    return combine_masks(values, [kept[i] for i in present])


def masks_of(codes: Labels) -> dict[str, NDArray[np.bool_]]:
    return {CELLS[code - 1]: codes == code for code in np.unique(codes) if code}


@pytest.mark.parametrize("name", SETS)
def test_aggregation_is_the_official_one(name: str) -> None:
    probabilities = arrays[f"{name}.prob"]
    kept = select_targets(measure_support(probabilities, TENTH), CODE)
    assert [CELLS[k] for k in kept] == numbers[name]["combined"]
    codes = combine_masks(probabilities, kept)
    for k in kept:
        np.testing.assert_array_equal(codes == k + 1, arrays[f"{name}.combine.{CELLS[k]}"] > 0)


@pytest.mark.parametrize("name", SETS)
def test_suppression_is_the_official_one(name: str) -> None:
    kept = suppress_overlaps(count_overlaps(arrays[f"{name}.prob"], HALF), p_values(name))
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
    assert select_targets(measure_support(probabilities, HALF), PAPER) == [0]
    lenient = replace(PAPER, share=0.4)
    assert select_targets(measure_support(probabilities, HALF), lenient) == [0, 1]
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
@given(stored, st.integers(1, 4), st.sampled_from([PAPER, CODE]))
def test_support_and_overlaps_add_up_over_parts_of_a_slide(values: NDArray[np.uint8], cut: int, rule: Rule) -> None:
    parts, floor = [values[:, :cut], values[:, cut:]], cut_above(rule.floor)
    assert_equal(add_support([values], len(values), floor), add_support(parts, len(values), floor))
    overlaps = sum(count_overlaps(part, floor) for part in parts)
    np.testing.assert_array_equal(count_overlaps(values, floor), overlaps)


def assert_equal(one: Support, other: Support) -> None:
    for name in ("area", "won", "mass"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@settings(deadline=None, max_examples=60)
@given(stored, st.integers(1, 4), st.sampled_from([PAPER, CODE]), st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_a_slide_is_judged_the_same_however_it_is_cut(
    values: NDArray[np.uint8], cut: int, rule: Rule, plausibility: list[float]
) -> None:
    plausible = plausibility[: len(values)]
    whole = select_present(lambda: [values], rule, plausible)
    assert select_present(lambda: iter([values[:, cut:], values[:, :cut]]), rule, plausible) == whole
    if rule is PAPER:
        np.testing.assert_array_equal(combine_masks(values, whole, MASK), recognize_as_paper(values, MASK))


@pytest.mark.parametrize("name", SETS)
def test_stored_values_select_what_the_official_code_selects(name: str) -> None:
    values = np.round(255 * arrays[f"{name}.prob"]).astype(np.uint8)
    found = {CELLS[k] for k in select_present(lambda: [values], CODE, p_values(name))}
    assert found == set(numbers[name].get("nms_combined", []))


@pytest.mark.parametrize("rule", [PAPER, CODE])
def test_nothing_is_selected_where_nothing_is_there(rule: Rule) -> None:
    assert select_present(list, rule, [0.5, 0.2]) == []
    assert select_present(lambda: [np.zeros((2, 3, 4), np.uint8)], rule, [0.5, 0.2]) == []
    assert select_present(lambda: [np.zeros((0, 3, 4), np.uint8)], rule, []) == []
    assert select_present(lambda: [np.full((1, 3, 4), 200, np.uint8)], rule, [0.0]) == [0]


@pytest.mark.parametrize(("probability", "cut"), [(0.5, 128), (0.1, 26), (0.2, 52), (0.0, 1), (0.999, 255)])
def test_the_cut_is_the_smallest_value_above_a_probability(probability: float, cut: int) -> None:
    assert cut_above(probability) == cut

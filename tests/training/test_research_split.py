"""What wsiparse-research-1 learns from, and how its cells are matched with the annotated ones."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from benchmarks.crchisto import REACH, Matched, join, match_points
from benchmarks.split_open_1 import choose_part
from benchmarks.split_research_1 import GAP_PIXELS, find_discs
from wsiparse.files import find_config
from wsiparse.training.examples import read_examples
from wsiparse.training.settings import read_settings
from wsiparse.training.sources import choose_targets

TABLES = find_config("ontology").parent / "train"
POINTS = arrays(np.float64, st.tuples(st.integers(2, 9), st.just(2)), elements=st.integers(0, 40).map(float))


def test_what_the_open_model_keeps_apart_is_kept_apart_here_too() -> None:
    used = [e for e in read_examples(TABLES / "open-1-split.csv", "") if e.part != "excluded"]
    open_1 = {example.case: example.part for example in used}
    shared = [e for e in read_examples(TABLES / "research-1-split.csv", "") if e.case in open_1]
    assert len({e.case for e in shared}) == len(set(open_1))
    assert all(example.part == open_1[example.case] for example in shared)


def test_of_the_contests_sets_only_the_training_parts_are_learned_from() -> None:
    examples = read_examples(TABLES / "research-1-split.csv", "")
    by_set = {name: [e for e in examples if e.image.parts[0] == name] for name in ("glas", "monuseg", "crchisto")}
    assert all(e.image.stem.startswith("train_") and e.part == "train" for e in by_set["glas"])
    assert len({e.case for e in by_set["monuseg"]}) == 30
    assert all(e.part == choose_part(e.case) for e in by_set["crchisto"])
    assert {e.part for e in by_set["crchisto"]} == {"train", "test"}


def test_every_target_has_an_example_and_every_example_a_target() -> None:
    ontology = choose_targets(read_settings(TABLES / "research-1.toml"))
    examples = read_examples(TABLES / "research-1-split.csv", "")
    outlined = {name for e in examples if e.part == "train" and not e.hides for name in e.present}
    assert outlined == {target.name for target in ontology.targets}
    assert {e.image.parts[0] for e in examples if e.hides} == {"crchisto"}


@given(POINTS, st.floats(1, 12))
def test_a_disc_holds_what_is_nearest_to_its_point_alone(points: np.ndarray, radius: float) -> None:
    found = find_discs(points, 40, radius)
    rows, columns = np.nonzero(found >= 0)
    distances = np.hypot(*(np.column_stack([columns, rows])[:, None] + 0.5 - points).transpose(2, 0, 1))
    nearest, second = np.sort(distances, 1)[:, :2].T
    assert (distances[np.arange(len(rows)), found[rows, columns]] == nearest).all()
    assert (nearest <= radius).all()
    assert (second - nearest > GAP_PIXELS - 1e-9).all()


@given(POINTS, POINTS)
def test_as_many_points_are_matched_as_can_be(true: np.ndarray, found: np.ndarray) -> None:
    pairs = match_points(true, found)
    distances = np.hypot(*(true[:, None] - found).transpose(2, 0, 1))
    assert (distances[tuple(pairs.T)] <= REACH).all()
    assert all(len(set(side)) == len(pairs) for side in pairs.T)
    assert len(pairs) == (maximum_bipartite_matching(csr_array(distances <= REACH)) >= 0).sum()


def test_scores_of_a_small_scene() -> None:
    first = Matched(np.array(["a", "a", "b"]), np.array(["a", "b", "b", "b"]), np.array([[0, 0], [1, 1], [2, 2]]))
    nothing = Matched(np.array(["b"]), np.array([], np.str_), np.empty((0, 2), np.int64))
    both = join([nothing, first])
    assert both.score_places() == {"precision": 3 / 4, "recall": 3 / 4, "F1": 3 / 4}
    assert both.score_class("a") == {"nuclei": 2, "class F1": 2 / 3, "both F1": 2 / 3}
    assert both.score_class("b") == {"nuclei": 2, "class F1": 2 / 3, "both F1": 2 / 5}

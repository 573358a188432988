from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import box

from tests.evaluation.drawing import ONTOLOGY, TARGETS, cut_labels, draw_slide
from wsiparse.annotations.annotation import Annotation
from wsiparse.evaluation.confusion import Confusion, DrawnCodes, pool_confusions
from wsiparse.evaluation.evaluate import Prediction, evaluate_slide
from wsiparse.evaluation.masks import MaskReference
from wsiparse.evaluation.outlines import OutlineReference

SLIDE = draw_slide(60, 50)
GRID = SLIDE.grid
NAMES = tuple(target.name for target in TARGETS)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_every_pair_is_counted_as_by_hand_and_overlaps_are_left_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted = rng.integers(0, 4, (7, 9), dtype=np.uint8)
    drawn = rng.random((3, 7, 9)) < 0.3
    compared = rng.random((7, 9)) < 0.8
    codes = DrawnCodes(compared)
    for code, mask in enumerate(drawn & compared, start=1):
        codes.add(code, mask)
    expected = np.zeros((4, 4), int)
    for place in np.ndindex(7, 9):
        said = [code for code in (1, 2, 3) if drawn[code - 1][place]]
        if compared[place] and len(said) < 2:
            expected[said[0] if said else 0, predicted[place]] += 1
    assert codes.count(predicted, NAMES).pixels.tolist() == expected.tolist()


def test_a_group_whose_targets_are_all_judged_has_a_confusion_and_others_none() -> None:
    labels = np.ones((50, 60), np.uint8)
    outlines = OutlineReference([("tumour", Annotation("tumour", box(0, 0, 30, 50), 0))], GRID)
    confusion = evaluate_slide("s", Prediction(GRID, TARGETS, cut_labels(labels, GRID, 16)), outlines).confusion
    assert confusion is not None
    assert confusion.targets == NAMES == tuple(target.name for target in ONTOLOGY.targets)
    assert confusion.pixels[2, 1] == confusion.pixels[0, 1] == 1500
    mask = MaskReference(labels, {1: "gland"}, GRID)
    assert evaluate_slide("s", Prediction(GRID, TARGETS, cut_labels(labels, GRID, 16)), mask).confusion is None
    alone = Prediction(GRID, TARGETS[:1], cut_labels(labels, GRID, 16))
    assert evaluate_slide("s", alone, outlines).confusion is None


def test_slides_add_up_and_a_group_with_one_annotated_target_is_left_out() -> None:
    one, two = np.array([[0, 0, 0], [3, 4, 0], [0, 0, 0]]), np.array([[9, 0, 0], [0, 0, 0], [0, 1, 7]])
    parts = [Confusion(("a", "b"), one), Confusion(("a", "b"), two), Confusion(("c", "d"), one)]
    (pooled,) = pool_confusions(parts)
    assert pooled.targets == ("a", "b")
    assert pooled.pixels.tolist() == (one + two).tolist()

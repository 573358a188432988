from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely import Polygon, box

from tests.evaluation.drawing import (
    GLAND,
    NAMES,
    TARGETS,
    TUMOUR,
    centres_inside,
    cut_labels,
    draw_slide,
    write_features,
)
from wsiparse.annotations.annotation import Annotation
from wsiparse.errors import ReferenceFileError
from wsiparse.evaluation.evaluate import Prediction, evaluate_slide, open_prediction
from wsiparse.evaluation.masks import MaskReference
from wsiparse.evaluation.outlines import OutlineReference, read_outlines
from wsiparse.evaluation.scores import Score
from wsiparse.geometry import Grid, Region
from wsiparse.maps.canvas import create_canvas
from wsiparse.maps.labels import create_labels, write_labels
from wsiparse.tiles.plan import Block, Tiling

SLIDE = draw_slide()
GRID = SLIDE.grid.at_mpp(1.0)  # 200 × 150
TRIANGLE = Polygon([(20.3, 10.1), (333.7, 90.2), (61.9, 271.4)])


def draw_labels(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 4, (GRID.height, GRID.width), dtype=np.uint8)


def predict(labels: NDArray[np.uint8], side: int = 1000) -> Prediction:
    return Prediction(GRID, TARGETS, cut_labels(labels, GRID, side))


def of(*drawn: tuple[str, Polygon]) -> OutlineReference:
    return OutlineReference(((name, Annotation(name, polygon, polygon.area)) for name, polygon in drawn), SLIDE.grid)


def count(labels: NDArray[np.uint8], code: int, drawn: NDArray[np.bool_], compared: NDArray[np.bool_]) -> Sequence[int]:
    """Pixel by pixel, as a person would."""
    both = predicted = reference = ignored = 0
    for place in np.ndindex(labels.shape):
        if not compared[place]:
            ignored += 1
            continue
        both += int(labels[place] == code and drawn[place])
        predicted += int(labels[place] == code)
        reference += int(drawn[place])
    return both, predicted, reference, ignored


def test_counts_are_those_of_a_person_going_from_pixel_to_pixel() -> None:
    labels, hole, frame = draw_labels(), box(60, 60, 120, 130), box(40, 20, 380, 280)
    reference = of(("gland", TRIANGLE), ("Ignore*", hole), ("Region*", frame))
    compared = centres_inside(frame, GRID, SLIDE) & ~centres_inside(hole, GRID, SLIDE)
    scores = evaluate_slide("s1", predict(labels, 64), reference).scores
    drawn = centres_inside(TRIANGLE, GRID, SLIDE)
    nothing = np.zeros_like(drawn)
    assert scores[0] == Score("s1", "gland", *count(labels, 1, drawn, compared))
    assert scores[1] == Score("s1", "tumour", *count(labels, 2, nothing, compared))
    assert scores[2] == Score("s1", "lymphoid aggregate", *count(labels, 3, nothing, compared))


@settings(deadline=None, max_examples=15)
@given(st.integers(10, 210), st.integers(0, 9))
def test_splitting_a_slide_into_blocks_changes_nothing(side: int, seed: int) -> None:
    labels = draw_labels(seed)
    reference = of(("gland", TRIANGLE), ("tumour", box(7.5, 100.5, 399, 220)), ("Ignore*", box(0, 0, 50, 50)))
    one, other = (evaluate_slide("s1", predict(labels, n), reference) for n in (side, 1000))
    assert one.scores == other.scores
    assert one.confusion is not None
    assert other.confusion is not None
    assert np.array_equal(one.confusion.pixels, other.confusion.pixels)


def test_a_perfect_prediction_has_dice_one_and_its_complement_none() -> None:
    drawn = centres_inside(TRIANGLE, GRID, SLIDE)
    perfect = evaluate_slide("s1", predict(drawn.astype(np.uint8)), of(("gland", TRIANGLE))).scores[0]
    opposite = evaluate_slide("s1", predict((~drawn).astype(np.uint8)), of(("gland", TRIANGLE))).scores[0]
    assert (perfect.dice, perfect.iou) == (1, 1)
    assert (opposite.dice, opposite.iou) == (0, 0)


def test_a_target_without_outline_is_judged_as_absent(tmp_path: Path) -> None:
    reference = read_outlines(write_features(tmp_path / "s1.geojson", []), SLIDE, NAMES)
    score = evaluate_slide("s1", predict(np.ones((150, 200), np.uint8)), reference).scores[0]
    assert score == Score("s1", "gland", 0, 150 * 200, 0)
    assert (score.dice, score.precision) == (0, 0)


def test_a_target_that_no_mask_names_is_not_judged() -> None:
    reference = MaskReference(np.ones((300, 400), np.uint8), {1: "tumour"}, SLIDE.grid)
    scores = evaluate_slide("s1", predict(np.full((150, 200), 2, np.uint8)), reference).scores
    assert scores == [Score("s1", "tumour", 30_000, 30_000, 30_000)]


def test_a_reference_that_ignores_everything_is_refused() -> None:
    with pytest.raises(
        ReferenceFileError, match=r"s1: the reference ignores all 30000 pixels; .* give the unclassified"
    ):
        evaluate_slide("s1", predict(draw_labels()), of(("Ignore*", box(-1, -1, 401, 301)), ("gland", TRIANGLE)))


def test_the_label_map_of_a_run_is_read_block_by_block_and_unwritten_blocks_are_nothing(tmp_path: Path) -> None:
    tiling = Tiling(Grid(200, 150, 1.0), 48, 0, 2)
    image = create_labels(create_canvas(tmp_path / "1um", "d" * 64, tiling, (GLAND, TUMOUR)), "tissue")
    write_labels(image, Block(0, 1, Region(96, 0, 96, 96), ()), np.full((96, 96), 2, np.uint8))
    prediction = open_prediction(image)
    regions = [region for region, _ in prediction.regions]
    assert sum(region.area for region in regions) == 200 * 150
    assert {(region.width, region.height) for region in regions} == {(96, 96), (8, 96), (96, 54), (8, 54)}
    reference = of(("tumour", box(200, 0, 300, 300)))
    gland, tumour = evaluate_slide("s1", open_prediction(image), reference).scores
    assert tumour == Score("s1", "tumour", 50 * 96, 96 * 96, 50 * 150)
    assert gland == Score("s1", "gland", 0, 0, 0)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from shapely import Polygon, box

from tests.evaluation.drawing import NAMES, TARGETS, draw_slide
from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.outlines import Polygons
from wsiparse.evaluation.instances import score_instances
from wsiparse.evaluation.masks import MaskReference, read_instances, trace_numbers
from wsiparse.evaluation.names import TargetNames
from wsiparse.evaluation.objects import score_objects
from wsiparse.evaluation.outlines import OutlineReference
from wsiparse.evaluation.overlaps import count_overlaps
from wsiparse.evaluation.references import JoinedReference

SLIDE = draw_slide(401, 301)
GLAND = TargetNames(NAMES.ontology, ("gland",))


def as_objects(*polygons: Polygon) -> Polygons:
    objects = np.empty(len(polygons), object)
    objects[:] = polygons
    return objects


def of(*drawn: tuple[str, Polygon]) -> OutlineReference:
    return OutlineReference(((name, Annotation(name, polygon, polygon.area)) for name, polygon in drawn), SLIDE.grid)


def write_mask(path: Path, values: NDArray[np.uint16]) -> Path:
    Image.fromarray(values).save(path)
    return path


def draw_numbers(seed: int, shape: tuple[int, int] = (31, 47)) -> NDArray[np.uint16]:
    """Overlapping rectangles, so that objects touch, hide and cut each other in two."""
    rng = np.random.default_rng(seed)
    values = np.zeros(shape, np.uint16)
    for number in range(1, 12):
        y, x, height, width = rng.integers((0, 0, 2, 2), (*shape, 15, 15))
        values[y : y + height, x : x + width] = number * 300
    return values


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_each_number_is_one_object_of_its_own_area(seed: int) -> None:
    values = draw_numbers(seed)
    objects = trace_numbers(values)
    numbers, pixels = np.unique(values[values > 0], return_counts=True)
    assert len(objects) == len(numbers)
    assert shapely.area(objects).tolist() == pixels.tolist()
    assert shapely.is_valid(objects).all()


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_outlines_of_masks_score_as_their_pixels_do(one: int, other: int) -> None:
    predicted, drawn = draw_numbers(one), draw_numbers(other)
    slide = draw_slide(47, 31)
    reference = OutlineReference(
        ((("gland"), Annotation("gland", polygon, 0)) for polygon in trace_numbers(drawn)), slide.grid
    )
    score = score_instances(trace_numbers(predicted), "gland", reference, slide.grid)
    expected = score_objects(count_overlaps([(predicted, drawn)], slide.grid.pixel_area_um2))
    assert score is not None
    assert score.panoptic_quality == pytest.approx(expected.panoptic_quality)
    assert (score.predicted, score.reference, score.matched) == (
        *(expected.predicted, expected.reference),
        expected.matched,
    )
    assert score.object_dice == pytest.approx(expected.object_dice)


@pytest.mark.parametrize("downsample", [1, 2, 5])
def test_objects_of_a_smaller_mask_lie_where_they_are_on_the_slide(tmp_path: Path, downsample: int) -> None:
    height, width = -(-301 // downsample), -(-401 // downsample)
    values = np.zeros((height, width), np.uint16)
    values[10:20, 30:50] = 7
    values[20:40, 30:50] = 70  # touches the other: only its number tells them apart
    path = write_mask(tmp_path / f"s1-{downsample}.png", values)
    reference = read_instances(path, SLIDE, 0.5 * downsample, GLAND)
    shown = np.array([30, 10, 50, 20]) * downsample
    objects = reference.list_objects("gland")
    assert objects is not None
    assert shapely.equals(objects[0], box(*shown.tolist()))
    below = box(30 * downsample, 20 * downsample, 50 * downsample, 40 * downsample)
    score = score_instances(as_objects(box(*shown), below), "gland", reference, SLIDE.grid)
    assert score is not None
    assert (score.panoptic_quality, score.object_dice, score.count_error) == (1, 1, 0)


def test_objects_that_the_reference_ignores_count_for_neither_side() -> None:
    kept, ignored, outside = box(60, 60, 80, 80), box(110, 110, 120, 120), box(300, 250, 320, 260)
    reference = of(
        *(("gland", kept), ("gland", ignored), ("gland", outside)),
        *(("Ignore*", box(100, 100, 150, 150)), ("Region*", box(50, 50, 200, 200))),
    )
    predicted = as_objects(kept, box(130, 130, 140, 140), box(350, 250, 380, 280))
    score = score_instances(predicted, "gland", reference, SLIDE.grid)
    assert score is not None
    assert (score.predicted, score.reference, score.matched) == (1, 1, 1)


def test_a_slide_on_which_nothing_was_found_has_missed_every_object() -> None:
    score = score_instances(as_objects(), "gland", of(("gland", box(1, 1, 9, 9))), SLIDE.grid)
    assert score is not None
    assert (score.panoptic_quality, score.count_error, score.object_dice) == (0, -1, 0)
    nothing = score_instances(as_objects(), "gland", of(), SLIDE.grid)
    assert nothing is not None
    assert np.isnan(nothing.panoptic_quality)


def test_pixels_alone_are_no_objects() -> None:
    mask = MaskReference(np.ones((301, 401), np.uint8), {1: "gland"}, SLIDE.grid)
    assert score_instances(as_objects(box(1, 1, 9, 9)), "gland", mask, SLIDE.grid) is None
    joined = JoinedReference((mask, of(("gland", box(1, 1, 9, 9)))))
    assert joined.list_objects("gland") is None
    assert joined.list_objects(TARGETS[1].name) is not None  # of the outlines alone, which speak for it

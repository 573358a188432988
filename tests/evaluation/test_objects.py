"""Object scores against counts made object by object, pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from random import Random

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely import Polygon
from skimage.metrics import contingency_table

from wsiparse.evaluation.objects import ObjectScore, find_largest_overlaps, match_objects, score_objects
from wsiparse.evaluation.overlaps import Overlaps, count_overlaps, measure_overlaps

Image = NDArray[np.int64]


@dataclass(frozen=True)
class Scene:
    """A prediction and a reference that share part of their objects."""

    predicted: Image
    reference: Image


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    reference = draw_objects(generator, (height, width), draw(st.integers(0, 6)))
    kind = draw(st.sampled_from(["same", "noise", "other", "merged"]))
    if kind == "other":
        predicted = draw_objects(generator, (height, width), draw(st.integers(0, 6)))
    else:
        predicted = {"same": reference, "noise": reference, "merged": reference > 0}[kind].astype(np.int64)
        predicted[generator.random((height, width)) < draw(st.sampled_from([0.0, 0.2, 0.6]))] = 0
    return Scene(predicted * draw(st.sampled_from([1, 7, 10**12])), reference * draw(st.sampled_from([1, 3, 10**9])))


def draw_objects(generator: np.random.Generator, shape: tuple[int, int], count: int) -> Image:
    image = np.zeros(shape, np.int64)
    for number in range(1, count + 1):
        y, x = generator.integers(0, shape[0]), generator.integers(0, shape[1])
        height, width = generator.integers(1, 12, 2)
        image[y : y + height, x : x + width] = number
    return image


def masks(image: Image) -> list[NDArray[np.bool_]]:
    return [image == number for number in np.unique(image[image != 0])]


def overlaps_of(scene: Scene, pixel_area_um2: float = 1.0) -> Overlaps:
    return count_overlaps([(scene.predicted, scene.reference)], pixel_area_um2)


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def directed_dice(ones: list[NDArray[np.bool_]], others: list[NDArray[np.bool_]]) -> float:
    total = 0.0
    for one in ones:
        shared = [int((one & other).sum()) for other in others]
        if any(shared):
            total += int(one.sum()) * dice(one, others[shared.index(max(shared))])
    return total / sum(int(one.sum()) for one in ones) if ones else 0.0


def count_glas(predicted: list[NDArray[np.bool_]], reference: list[NDArray[np.bool_]]) -> tuple[int, int]:
    found: set[int] = set()
    true = 0
    for mask in predicted:
        shared = [int((mask & other).sum()) for other in reference]
        if any(shared):
            best = shared.index(max(shared))
            if 2 * shared[best] >= reference[best].sum():
                true += 1
                found.add(best)
    return true, len(reference) - len(found)


@settings(deadline=None, max_examples=150)
@given(scenes())
def test_panoptic_quality_is_that_of_a_search_over_all_pairs(scene: Scene) -> None:
    predicted, reference = masks(scene.predicted), masks(scene.reference)
    ious = [(p & r).sum() / (p | r).sum() for p in predicted for r in reference]
    matched = [iou for iou in ious if iou > 0.5]
    unmatched = len(predicted) + len(reference) - 2 * len(matched)
    score = score_objects(overlaps_of(scene))
    if predicted or reference:
        assert score.detection_quality == pytest.approx(len(matched) / (len(matched) + unmatched / 2))
        assert score.panoptic_quality == pytest.approx(sum(matched) / (len(matched) + unmatched / 2))
    if matched:
        assert score.segmentation_quality == pytest.approx(np.mean(matched))
        assert score.panoptic_quality == pytest.approx(score.detection_quality * score.segmentation_quality)


@settings(deadline=None, max_examples=100)
@given(scenes())
def test_the_count_error_is_that_of_the_values_in_the_masks(scene: Scene) -> None:
    predicted, reference = (len({*np.unique(values)} - {0}) for values in (scene.predicted, scene.reference))
    error = score_objects(overlaps_of(scene)).count_error
    assert error == pytest.approx(predicted / reference - 1) if reference else np.isnan(error)


@settings(deadline=None, max_examples=150)
@given(scenes())
def test_glas_scores_are_those_of_the_contest_text(scene: Scene) -> None:
    predicted, reference = masks(scene.predicted), masks(scene.reference)
    score = score_objects(overlaps_of(scene, 0.25))
    true, missed = count_glas(predicted, reference)
    assert (score.detections, score.missed) == (true, missed)
    if predicted or reference:
        assert score.detection_f1 == pytest.approx(2 * true / (true + len(predicted) + missed))
        both_ways = directed_dice(predicted, reference), directed_dice(reference, predicted)
        assert score.object_dice == pytest.approx(sum(both_ways) / 2)


@settings(deadline=None, max_examples=60)
@given(scenes())
def test_overlaps_are_scikit_images_contingency_table(scene: Scene) -> None:
    numbers = [np.unique(image, return_inverse=True) for image in (scene.predicted, scene.reference)]
    places = [places.reshape(scene.predicted.shape) for _, places in numbers]
    table = contingency_table(*places).toarray()  # type: ignore[no-untyped-call]
    rows, columns = (np.flatnonzero(found != 0) for found, _ in numbers)
    result = overlaps_of(scene)
    dense = np.zeros((len(rows), len(columns)))
    dense[result.pairs[:, 0], result.pairs[:, 1]] = result.shared
    np.testing.assert_array_equal(dense, table[np.ix_(rows, columns)])
    np.testing.assert_array_equal(result.predicted, table[rows].sum(axis=1))
    np.testing.assert_array_equal(result.reference, table[:, columns].sum(axis=0))


@settings(deadline=None, max_examples=60)
@given(scenes(), st.integers(1, 9), st.randoms(use_true_random=False))
def test_blocks_in_any_order_make_the_whole(scene: Scene, side: int, random: Random) -> None:
    blocks = list(cut(scene, side))
    random.shuffle(blocks)
    whole, parts = overlaps_of(scene, 0.3), count_overlaps(blocks, 0.3)
    for field in fields(Overlaps):
        np.testing.assert_allclose(getattr(parts, field.name), getattr(whole, field.name))


def cut(scene: Scene, side: int) -> Iterator[tuple[Image, Image]]:
    height, width = scene.predicted.shape
    for y in range(0, height, side):
        for x in range(0, width, side):
            block = slice(y, y + side), slice(x, x + side)
            yield scene.predicted[block], scene.reference[block]


def outlines(image: Image) -> list[shapely.Geometry]:
    return [
        shapely.union_all([shapely.box(x, y, x + 1, y + 1) for y, x in np.argwhere(mask).tolist()])
        for mask in masks(image)
    ]


@settings(deadline=None, max_examples=40)
@given(scenes())
def test_outlines_score_as_their_pixels(scene: Scene) -> None:
    pixels = overlaps_of(scene, 0.25)
    polygons = measure_overlaps(outlines(scene.predicted), outlines(scene.reference), 0.25)
    for field in fields(ObjectScore):
        by_pixels, by_outline = (getattr(score_objects(part), field.name) for part in (pixels, polygons))
        assert by_outline == pytest.approx(by_pixels), field.name


def square(x: float, y: float, side: float) -> Polygon:
    return shapely.box(x, y, x + side, y + side)


def test_of_outlines_drawn_twice_only_one_matches() -> None:
    predicted = [square(0, 0, 10), square(0, 0, 10), square(0, 0, 9)]
    overlaps = measure_overlaps(predicted, [square(0, 0, 10)], 1.0)
    assert overlaps.pairs[match_objects(overlaps)].tolist() == [[0, 0]]
    score = score_objects(overlaps)
    assert (score.matched, score.panoptic_quality) == (1, 0.5)


def test_the_better_of_two_rivals_gets_the_object() -> None:
    overlaps = measure_overlaps([square(0, 0, 9), square(0, 0, 10)], [square(0, 0, 10), square(0, 0, 9.5)], 1.0)
    pairs = overlaps.pairs[match_objects(overlaps)]
    assert sorted(pairs.tolist()) == [[0, 1], [1, 0]]


def test_exactly_half_is_no_match_but_a_detection() -> None:
    reference = np.array([[1, 1, 1, 1]])
    score = score_objects(count_overlaps([(np.array([[5, 5, 0, 0]]), reference)], 1.0))
    assert (score.matched, score.detections, score.missed) == (0, 1, 0)


def test_of_an_object_of_many_parts_only_those_that_are_met_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    predicted = [square(20 * n + 1, 0, 10) for n in range(50)]
    tissue = shapely.MultiPolygon([square(20 * n, 0, 10) for n in range(50)])
    cut: list[int] = []
    intersect = shapely.intersection

    def record(one: NDArray[np.object_], other: NDArray[np.object_]) -> NDArray[np.object_]:
        cut.extend(shapely.get_num_geometries(other).tolist())
        return np.asarray(intersect(one, other))

    monkeypatch.setattr(shapely, "intersection", record)
    overlaps = measure_overlaps([*predicted, tissue], [tissue], 1.0)
    assert set(cut) == {1}
    assert overlaps.pairs.tolist() == [[n, 0] for n in range(51)]
    assert overlaps.shared.tolist() == [*[90.0] * 50, 5000.0]


def test_touching_outlines_share_nothing() -> None:
    assert len(measure_overlaps([square(0, 0, 1)], [square(1, 0, 1)], 1.0).pairs) == 0


def test_nothing_has_no_score_and_a_missing_side_has_zero() -> None:
    empty, one = np.zeros((3, 4), np.int64), np.ones((3, 4), np.int64)
    nothing = score_objects(count_overlaps([(empty, empty)], 1.0))
    assert nothing == ObjectScore()
    for name in ("panoptic_quality", "detection_quality", "segmentation_quality", "detection_f1", "object_dice"):
        assert math.isnan(getattr(nothing, name))
    for pair, error in (((empty, one), -1.0), ((one, empty), math.nan)):
        score = score_objects(count_overlaps([pair], 1.0))
        assert (score.panoptic_quality, score.detection_f1, score.object_dice) == (0, 0, 0)
        assert score.count_error == pytest.approx(error, nan_ok=True)


def test_no_blocks_and_no_outlines_are_nothing() -> None:
    assert score_objects(count_overlaps([], 1.0)) == score_objects(measure_overlaps([], [], 1.0)) == ObjectScore()


def test_a_cohort_is_scored_by_the_sums_of_its_slides() -> None:
    generator = np.random.default_rng(1)
    slides = [Scene(*(draw_objects(generator, (40, 50), 9) for _ in "ab")) for _ in range(4)]
    total = sum((score_objects(overlaps_of(slide, 0.25)) for slide in slides), ObjectScore())
    side_by_side = Scene(
        np.hstack([slide.predicted + (slide.predicted > 0) * 100 * n for n, slide in enumerate(slides)]),
        np.hstack([slide.reference + (slide.reference > 0) * 100 * n for n, slide in enumerate(slides)]),
    )
    whole = score_objects(overlaps_of(side_by_side, 0.25))
    for field in fields(ObjectScore):
        assert getattr(total, field.name) == pytest.approx(getattr(whole, field.name))
    assert total.object_dice == pytest.approx(whole.object_dice)


def test_a_tie_of_overlaps_goes_to_the_first_object() -> None:
    overlaps = count_overlaps([(np.array([[4, 4]]), np.array([[2, 9]]))], 1.0)
    by_predicted, by_reference = find_largest_overlaps(overlaps)
    assert overlaps.pairs[by_predicted].tolist() == [[0, 0]]
    assert overlaps.pairs[by_reference].tolist() == [[0, 0], [0, 1]]

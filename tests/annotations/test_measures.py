"""Measures of many objects against scikit-image, the pixels themselves, and known figures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from shapely import MultiPolygon, Polygon
from skimage.measure import regionprops

from tests.annotations.discs import Mask, draw_discs, draw_noise
from tests.annotations.masks import annotate
from wsiparse.annotations.measures import Shapes, measure_shapes, sum_scores, weigh_scores
from wsiparse.annotations.tracing import trace_objects
from wsiparse.geometry import Grid

GRID = Grid(1000, 800, 0.25)


def describe(ids: NDArray[np.int32]) -> list[Any]:
    return list(regionprops(ids))  # type: ignore[no-untyped-call]


def measure_ids(ids: NDArray[np.int32]) -> Shapes:
    return measure_shapes(trace_objects(ids).to_shapely(), GRID)


@settings(deadline=None, max_examples=20)
@given(draw_noise())
def test_sizes_and_places_are_those_of_scikit_image(noise: tuple[Mask, NDArray[np.uint8]]) -> None:
    ids = ndimage.label(noise[0])[0].astype(np.int32)
    shapes = measure_ids(ids)
    props = describe(ids)
    centroids = np.array([prop.centroid for prop in props]).reshape(-1, 2)[:, ::-1] + 0.5
    np.testing.assert_allclose(shapes.centroid, centroids)
    np.testing.assert_allclose(shapes.area_um2, [prop.area * 0.0625 for prop in props])
    np.testing.assert_allclose(shapes.box_ratio, [prop.extent for prop in props])


@settings(deadline=None, max_examples=20)
@given(draw_noise())
def test_the_inertia_ratio_is_that_of_moments(noise: tuple[Mask, NDArray[np.uint8]]) -> None:
    ids = ndimage.label(noise[0])[0].astype(np.int32)
    for ratio, prop in zip(measure_ids(ids).inertia_ratio, describe(ids), strict=True):
        # Squares have a sixth of their area more inertia than their centres.
        inertia = prop.moments_central[0, 2] + prop.moments_central[2, 0] + prop.area / 6
        assert ratio == pytest.approx(prop.area**2 / (2 * math.pi * inertia))
        assert 0 < ratio <= 1


def test_the_convex_ratio_and_perimeter_are_near_those_of_scikit_image() -> None:
    mask = draw_discs((120, 300), [(50, 50), (60, 190), (60, 220)], 35)
    ids = ndimage.label(mask)[0].astype(np.int32)
    outlines = np.array([annotation.polygon for annotation in annotate(mask.astype(np.uint8), scale=1.0)], object)
    shapes = measure_shapes(outlines, GRID)
    for n, prop in enumerate(sorted(describe(ids), key=lambda prop: prop.bbox[0])):
        assert shapes.convex_ratio[n] == pytest.approx(prop.solidity, abs=0.02)
        assert shapes.perimeter_um[n] / 0.25 == pytest.approx(prop.perimeter_crofton, rel=0.07)


@pytest.mark.parametrize(
    ("polygon", "convex", "box", "inertia"),
    [
        (shapely.box(3, 4, 13, 24), 1, 1, 200**2 / (2 * math.pi * 200 * (10**2 + 20**2) / 12)),
        (shapely.Point(5, 5).buffer(3, quad_segs=512), 1, math.pi / 4, 1),
        (Polygon([(0, 0), (4, 0), (0, 4)]), 1, 0.5, 8**2 / (2 * math.pi * 2 * 4**4 / 36)),
        (shapely.box(0, 0, 3, 3) - shapely.box(1, 1, 2, 2), 8 / 9, 8 / 9, 64 / (2 * math.pi * (81 - 1) / 6)),
        (MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(3, 0, 4, 1)]), 0.5, 0.5, 4 / (2 * math.pi * (1 / 3 + 4.5))),
    ],
    ids=["box", "disc", "triangle", "ring", "two parts"],
)
@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("reverse", [False, True])
def test_known_figures(
    polygon: Polygon | MultiPolygon, convex: float, box: float, inertia: float, offset: float, reverse: bool
) -> None:
    moved = shapely.transform(polygon, lambda points: points + offset)
    moved = shapely.reverse(moved) if reverse else moved
    # Among others, so that a ring added to the wrong object shows.
    shapes = measure_shapes(np.array([shapely.box(0, 0, 1, 2), moved, shapely.box(5, 5, 9, 9)], object), GRID)
    found = shapes.convex_ratio[1], shapes.box_ratio[1], shapes.inertia_ratio[1]
    assert found == pytest.approx((convex, box, inertia), rel=1e-4)
    assert shapes.perimeter_um[0] == 6 * 0.25
    assert shapes.perimeter_um[1] == pytest.approx(polygon.length * 0.25)


def test_no_objects_and_objects_without_area() -> None:
    assert len(measure_shapes(np.empty(0, object), GRID).area_um2) == 0
    shapes = measure_shapes(np.array([Polygon(), Polygon([(0, 0), (2, 0), (0, 0)])], object), GRID)
    assert shapes.area_um2.tolist() == [0, 0]
    assert np.isnan([shapes.convex_ratio, shapes.box_ratio, shapes.inertia_ratio]).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_certainties_are_means_over_each_objects_pixels(seed: int, targets: int) -> None:
    generator = np.random.default_rng(seed)
    ids = ndimage.label(generator.random((20, 30)) > 0.5)[0].astype(np.int32)
    count = int(ids.max())
    codes = generator.integers(1, targets + 1, count)
    scores = generator.integers(0, 256, (targets, 20, 30)).astype(np.uint8)
    sums = sum_scores(ids, scores, count)
    found = weigh_scores(sums, np.bincount(ids.ravel(), minlength=count + 1)[1:], codes)
    for n in range(count):
        means = scores[:, ids == n + 1].mean(axis=1) / 255
        assert found.probability[n] == pytest.approx(means[codes[n] - 1])
        others = [code for code in range(1, targets + 1) if code != codes[n]]
        if not others:
            assert (found.runner_up[n], found.runner_up_probability[n]) == (0, 0)
            continue
        best = max(others, key=lambda code: (means[code - 1], -code))
        assert found.runner_up[n] == best
        assert found.runner_up_probability[n] == pytest.approx(means[best - 1])


def test_certainties_of_no_objects() -> None:
    none = np.empty(0, np.int64)
    found = weigh_scores(sum_scores(np.zeros((3, 4), np.int32), np.zeros((2, 3, 4), np.uint8), 0), none, none)
    assert len(found.probability) == len(found.runner_up) == len(found.runner_up_probability) == 0

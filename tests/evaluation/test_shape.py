"""Ratios of shape against sums over pixels, SciPy's hull and known figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from shapely import Polygon

from wsiparse.annotations.measures import measure_shapes
from wsiparse.evaluation.shape import Extent, Regularity, find_extent, gain_against_irregularity
from wsiparse.geometry import Grid

Mask = NDArray[np.bool_]


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    noise = ndimage.uniform_filter(generator.random(shape), generator.integers(1, 5))
    return np.asarray(noise <= np.quantile(noise, draw(st.sampled_from([0.05, 0.4, 0.9]))))


def squares(mask: Mask) -> shapely.Geometry:
    return shapely.union_all([shapely.box(x, y, x + 1, y + 1) for y, x in np.argwhere(mask).tolist()])


def corners(mask: Mask) -> NDArray[np.int64]:
    rows, columns = np.nonzero(mask)
    return np.concatenate([np.column_stack([columns + dx, rows + dy]) for dx in (0, 1) for dy in (0, 1)])


def as_tuple(shape: Regularity) -> tuple[float, float, float]:
    return shape.box_ratio, shape.convex_ratio, shape.inertia_ratio


def of_outline(polygon: shapely.Geometry) -> tuple[float, float, float]:
    """The ratios that annotations carry."""
    shapes = measure_shapes(np.array([polygon], object), Grid(1, 1, 1.0))
    return float(shapes.box_ratio[0]), float(shapes.convex_ratio[0]), float(shapes.inertia_ratio[0])


@settings(deadline=None, max_examples=100)
@given(masks())
def test_a_mask_and_its_outline_are_equally_regular(mask: Mask) -> None:
    assert as_tuple(find_extent(mask).regularity) == pytest.approx(of_outline(squares(mask)))


@settings(deadline=None, max_examples=100)
@given(masks())
def test_ratios_are_those_of_scipys_hull_and_of_pixels_cut_fine(mask: Mask) -> None:
    shape = find_extent(mask).regularity
    rows, columns = np.nonzero(mask)
    box = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
    assert shape.box_ratio == pytest.approx(len(rows) / box)
    assert shape.convex_ratio == pytest.approx(len(rows) / ConvexHull(corners(mask)).volume)
    cuts = 9
    fine = np.argwhere(np.kron(mask, np.ones((cuts, cuts), np.bool_))) / cuts
    inertia = ((fine - fine.mean(axis=0)) ** 2).sum() / cuts**2
    assert shape.inertia_ratio == pytest.approx(len(rows) ** 2 / (2 * math.pi * inertia), rel=0.02)
    assert all(0 < ratio <= 1 + 1e-12 for ratio in as_tuple(shape))


@settings(deadline=None, max_examples=100)
@given(masks(), st.integers(1, 9))
def test_blocks_add_up_to_the_whole_far_from_the_corner_too(mask: Mask, side: int) -> None:
    x, y = 90_000, 70_000
    parts = [
        find_extent(mask[top : top + side, left : left + side], x + left, y + top)
        for top in range(0, mask.shape[0], side)
        for left in range(0, mask.shape[1], side)
    ]
    whole = sum(parts, Extent())
    assert as_tuple(whole.regularity) == pytest.approx(as_tuple(find_extent(mask).regularity), rel=1e-7)
    assert whole.box == find_extent(mask, x, y).box


def test_on_a_large_mask_it_is_the_papers_sum_over_pixel_centres() -> None:
    rows, columns = np.indices((301, 401))
    mask = ((rows - 140) / 100) ** 2 + ((columns - 200) / 170) ** 2 + 0.3 * np.sin(columns / 9) < 1
    points = np.argwhere(mask)
    paper = len(points) ** 2 / (2 * math.pi * ((points - points.mean(axis=0)) ** 2).sum())
    assert find_extent(mask).regularity.inertia_ratio == pytest.approx(paper, rel=1e-4)


@pytest.mark.parametrize(
    ("polygon", "expected"),
    [
        (shapely.box(3, 4, 13, 24), (1, 1, 200**2 / (2 * math.pi * 200 * (10**2 + 20**2) / 12))),
        (shapely.Point(5, 5).buffer(3, quad_segs=512), (math.pi / 4, 1, 1)),
        (Polygon([(0, 0), (4, 0), (0, 4)]), (0.5, 1, 8**2 / (2 * math.pi * 2 * 4**4 / 36))),
        (shapely.box(0, 0, 3, 3) - shapely.box(1, 1, 2, 2), (8 / 9, 8 / 9, 64 / (2 * math.pi * (81 - 1) / 6))),
    ],
    ids=["box", "disc", "triangle", "ring"],
)
def test_known_figures(polygon: Polygon, expected: tuple[float, float, float]) -> None:
    assert of_outline(polygon) == pytest.approx(expected, rel=1e-4)


@settings(deadline=None, max_examples=50)
@given(masks(), st.floats(0.1, 50), st.floats(-1e6, 1e6), st.booleans())
def test_place_size_and_direction_do_not_matter(mask: Mask, scale: float, offset: float, reverse: bool) -> None:
    outline = squares(mask)
    moved = shapely.transform(outline, lambda points: points * scale + offset)
    moved = shapely.reverse(moved) if reverse else moved
    assert of_outline(moved) == pytest.approx(of_outline(outline), rel=1e-6)


def test_a_shape_without_area_has_no_ratio() -> None:
    assert all(math.isnan(ratio) for ratio in as_tuple(find_extent(np.zeros((4, 5), np.bool_)).regularity))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(-1, 1)), min_size=3, max_size=20))
def test_the_trend_is_the_line_of_least_squares(points: list[tuple[float, float]]) -> None:
    ratios, gains = (np.array(values) for values in zip(*points, strict=True))
    assume(np.ptp(ratios) > 1e-3)
    assume(np.ptp(gains) > 1e-3)
    trend = gain_against_irregularity([*ratios, math.nan, 0.5], [*gains, 0.1, math.nan])
    slope, intercept = np.polyfit(1 - ratios, gains, 1)
    assert (trend.slope, trend.intercept) == pytest.approx((slope, intercept), abs=1e-6, rel=1e-6)
    assert trend.correlation == pytest.approx(np.corrcoef(1 - ratios, gains)[0, 1], abs=1e-6)
    assert trend.points == len(points)


@pytest.mark.parametrize("ratios", [[], [0.5, 0.6], [0.5] * 5, [math.nan] * 4])
def test_without_a_line_there_are_no_numbers(ratios: list[float]) -> None:
    trend = gain_against_irregularity(ratios, [0.1] * len(ratios))
    assert all(math.isnan(value) for value in (trend.slope, trend.intercept, trend.correlation, trend.p_value))

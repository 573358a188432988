"""HD95 against distance transforms of the whole image, and against scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import hausdorff_distance

from tests.evaluation.drawing import measure_mask_hd95
from wsiparse.evaluation.distances import find_border, join_borders, measure_hd95
from wsiparse.geometry import Region

Mask = NDArray[np.bool_]


@st.composite
def masks(draw: st.DrawFn, count: int = 2) -> list[Mask]:
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    return [draw_mask(generator, shape, draw(st.sampled_from([0.02, 0.3, 0.7]))) for _ in range(count)]


def draw_mask(generator: np.random.Generator, shape: tuple[int, int], share: float) -> Mask:
    noise = ndimage.uniform_filter(generator.random(shape), generator.integers(1, 6))
    return np.asarray(noise <= np.quantile(noise, share))


def border_by_neighbours(mask: Mask) -> Mask:
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def hd_by_transform(one: Mask, other: Mask, percentile: float) -> float:
    borders = border_by_neighbours(one), border_by_neighbours(other)
    directions = [
        ndimage.distance_transform_edt(~borders[1])[borders[0]],
        ndimage.distance_transform_edt(~borders[0])[borders[1]],
    ]
    return max(float(np.percentile(distances, percentile)) for distances in directions)


@settings(deadline=None, max_examples=100)
@given(masks(), st.sampled_from([50.0, 95.0, 100.0]), st.sampled_from([0.25, 1.0, 2.0]))
def test_it_is_the_percentile_of_whole_distance_transforms(pair: list[Mask], percentile: float, mpp: float) -> None:
    one, other = pair
    expected = hd_by_transform(one, other, percentile) * mpp
    assert measure_mask_hd95(one, other, mpp, percentile) == pytest.approx(expected)
    assert measure_mask_hd95(other, one, mpp, percentile) == pytest.approx(expected)


@settings(deadline=None, max_examples=60)
@given(masks())
def test_the_hundredth_percentile_is_scikit_images_hausdorff_distance(pair: list[Mask]) -> None:
    borders = [border_by_neighbours(mask) for mask in pair]
    expected = hausdorff_distance(*borders)  # type: ignore[no-untyped-call]
    assert measure_mask_hd95(pair[0], pair[1], 1.0, 100.0) == pytest.approx(expected)


@settings(deadline=None, max_examples=60)
@given(masks(1), st.integers(1, 17))
def test_borders_of_blocks_are_the_border_of_the_whole(drawn: list[Mask], side: int) -> None:
    (mask,) = drawn
    height, width = mask.shape
    padded = np.pad(mask, 1 + side)  # blocks may lie over the edge
    parts = [
        find_border(padded[y + side : y + 2 * side + 2, x + side : x + 2 * side + 2], Region(x, y, side, side))
        for y in range(0, height, side)
        for x in range(0, width, side)
    ]
    expected = np.argwhere(border_by_neighbours(mask))[:, ::-1]
    assert sorted(map(tuple, join_borders(parts).tolist())) == sorted(map(tuple, expected.tolist()))


def test_a_square_moved_aside_is_as_far_as_it_moved() -> None:
    one, other = np.zeros((2, 300, 700), np.bool_)
    one[100:140, 50:90] = True
    other[100:140, 550:590] = True
    assert measure_mask_hd95(one, other, 0.5, 100.0) == pytest.approx(500 * 0.5)


def test_a_lone_false_pixel_moves_the_hausdorff_distance_but_not_its_95th_percentile() -> None:
    one = np.zeros((200, 200), np.bool_)
    one[50:100, 50:100] = True
    other = one.copy()
    other[199, 199] = True
    assert measure_mask_hd95(one, other, 1.0) == 0
    assert measure_mask_hd95(one, other, 1.0, 100.0) == pytest.approx(math.hypot(100, 100))


@pytest.mark.parametrize("sizes", [(0, 0), (0, 1), (1, 0)])
def test_an_empty_side_has_no_distance(sizes: tuple[int, int]) -> None:
    one, other = (np.zeros((size, 2), np.int32) for size in sizes)
    assert math.isnan(measure_hd95(one, other, 1.0))


def test_equal_masks_lie_on_each_other() -> None:
    assert measure_mask_hd95(np.ones((5, 7), np.bool_), np.ones((5, 7), np.bool_), 0.5) == 0

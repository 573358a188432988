"""Objects by the hundred thousand, and regions of many holes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from tests.annotations.discs import draw_discs
from tests.annotations.masks import GLAND, TARGETS, annotate, as_bytes, cut_regions, make_slide, trace_blocks
from wsiparse.annotations.pieces import Pieces
from wsiparse.annotations.polygons import join_blocks, trace_block
from wsiparse.errors import PlanError

FIELDS = ((0.0, 950, 0.7), (0.0, 700, 0.55), (0.7, 1250, 0.6), (1.2, 1500, 0.6), (2.5, 1500, 0.6))
"""Smoothing, side and share of background of random fields, from single pixels to large blobs with holes."""


def draw_field(smoothing: float, side: int, background: float) -> NDArray[np.uint8]:
    field = np.random.default_rng(side).random((side, side), np.float32)
    smooth = ndimage.gaussian_filter(field, smoothing) if smoothing else field
    return (smooth > np.quantile(smooth, background)).astype(np.uint8)


@pytest.mark.slow
def test_200_000_random_objects_pass_the_import_rule_of_qupath_with_their_areas() -> None:
    count = 0
    for field, scale in zip(FIELDS, (1.0, 2.0, 3.9737, 2.0, 4.0), strict=True):
        labels = draw_field(*field)
        found = annotate(labels, scale, side=512)
        polygons = np.array([annotation.polygon for annotation in found], object)
        reduced = shapely.set_precision(polygons, 0.01)  # raises exactly where QuPath refuses the file
        assert shapely.is_valid(polygons).all()
        assert shapely.is_valid(reduced).all()
        assert not shapely.is_empty(reduced).any()
        areas = np.array([annotation.area_um2 for annotation in found]) / 0.25 * scale**2
        np.testing.assert_allclose(shapely.area(reduced), areas, rtol=1e-3)
        assert len(found) == ndimage.label(labels)[1]
        count += len(found)
    assert count >= 200_000


@pytest.mark.parametrize("side", [37, 64, 160])
def test_discs_on_every_border_and_corner_of_blocks_are_counted_once(side: int) -> None:
    lines = range(side // 2, 640, side // 2)
    labels = draw_discs((640, 640), [(row, column) for row in lines for column in lines], 7).astype(np.uint8)
    found = annotate(labels, side=side)
    assert len(found) == ndimage.label(labels)[1] == len(lines) ** 2
    assert sum(annotation.area_um2 for annotation in found) == labels.sum() * 0.25
    assert as_bytes(found) == as_bytes(annotate(labels))


def test_a_region_of_many_holes_is_one_object_in_blocks_of_any_size() -> None:
    labels = np.ones((900, 900), np.uint8)
    labels[np.tile(draw_discs((18, 18), [(9, 9)], 6), (50, 50))] = 0
    whole = annotate(labels)
    assert len(whole) == 1
    assert len(whole[0].polygon.interiors) == 2500
    assert whole[0].polygon.area == pytest.approx(labels.sum() * 4, rel=1e-3)
    for side in (64, 151, 450):
        assert as_bytes(annotate(labels, side=side)) == as_bytes(whole)


def test_objects_are_passed_on_before_the_last_blocks_are_traced() -> None:
    labels = draw_field(1.2, 400, 0.7)
    traced = []

    def trace() -> Iterator[Pieces]:
        for region in cut_regions(labels, 50):
            traced.append(region)
            yield trace_block(labels[region.slices], None, region)

    grid, slide = make_slide(labels, 2.0)
    seen = [(annotation, traced[-1].y) for annotation in join_blocks(trace(), TARGETS, grid, slide.grid)]
    for annotation, frontier in seen:
        bottom = annotation.polygon.bounds[3] / 2
        # The next row of blocks, and one more where an object touches the border between them.
        assert frontier <= bottom + 2 * 50
    assert seen[0][1] == 50


def test_blocks_out_of_order_are_refused() -> None:
    labels = np.ones((8, 8), np.uint8)
    grid, slide = make_slide(labels, 1.0)
    with pytest.raises(PlanError, match="block at row 0 after one at row 4; expected blocks row by row"):
        list(join_blocks(reversed(trace_blocks(labels, None, 4)), (GLAND,), grid, slide.grid))

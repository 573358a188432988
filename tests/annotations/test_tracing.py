"""Outlines of all objects at once against GDAL's, one object after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio import features
from scipy import ndimage

from tests.annotations.masks import DRAWERS, draw_mask
from wsiparse.annotations.edges import cancel_edges, cut_edges, link_edges
from wsiparse.annotations.outlines import Outlines
from wsiparse.annotations.tracing import trace_objects


def number_objects(kind: str, seed: int) -> NDArray[np.int32]:
    """Objects of both targets, side by side where they touch."""
    labels = draw_mask(kind, seed)
    first, count = ndimage.label(labels == 1)
    second, _ = ndimage.label(labels == 2)
    return np.asarray(np.where(second > 0, second + count, first), np.int32)


def trace_with_gdal(objects: NDArray[np.int32]) -> NDArray[np.object_]:
    def find_id(shape: tuple[Any, float]) -> float:
        return shape[1]

    found = sorted(features.shapes(objects, mask=objects > 0, connectivity=4), key=find_id)
    return np.array([shapely.geometry.shape(geometry) for geometry, _ in found], object)


def count_turns(outlines: Outlines) -> NDArray[np.bool_]:
    """Whether each point is a corner."""
    turns = np.ones(len(outlines.points), np.bool_)
    for start, stop in zip(outlines.rings[:-1], outlines.rings[1:], strict=True):
        ways = np.diff(outlines.points[start:stop], axis=0)
        turns[start : stop - 1] = (ways == 0).any(axis=1) & ((ways * np.roll(ways, 1, axis=0)).sum(axis=1) == 0)
    return turns


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(sorted(DRAWERS)), st.integers(0, 2**20))
def test_outlines_are_those_of_gdal(kind: str, seed: int) -> None:
    objects = number_objects(kind, seed)
    traced, expected = trace_objects(objects), trace_with_gdal(objects)
    polygons = traced.to_shapely()
    assert shapely.is_valid(polygons).all()
    assert len(polygons) == len(expected)
    assert shapely.equals(polygons, expected).all()
    assert (traced.measure_areas() == np.bincount(objects.ravel(), minlength=len(traced) + 1)[1:]).all()
    rings = shapely.get_num_interior_rings
    assert (rings(polygons) == rings(expected)).all()
    assert count_turns(traced).all()


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(sorted(DRAWERS)), st.integers(0, 2**20))
def test_edges_cut_from_outlines_link_to_the_same_outlines(kind: str, seed: int) -> None:
    outlines = trace_objects(number_objects(kind, seed))
    rows, columns = cut_edges(outlines, np.arange(len(outlines)))
    again = link_edges(cancel_edges(rows), cancel_edges(columns), len(outlines))
    for name in ("points", "rings", "polygons"):
        np.testing.assert_array_equal(getattr(again, name), getattr(outlines, name))


@pytest.mark.parametrize("shape", [(0, 0), (3, 4), (1, 1)])
def test_nothing_has_no_outlines(shape: tuple[int, int]) -> None:
    outlines = trace_objects(np.zeros(shape, np.int32))
    assert len(outlines) == 0
    assert len(outlines.to_shapely()) == 0


def test_a_hole_that_touches_the_outside_at_a_corner_is_a_hole() -> None:
    objects = np.ones((4, 4), np.int32)
    objects[0, 0] = objects[1, 1] = 0
    (polygon,) = trace_objects(objects).to_shapely()
    assert polygon.is_valid
    assert len(polygon.interiors) == 1
    assert polygon.area == 14

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.annotations.masks import DRAWERS, TARGETS, Mask, draw_mask, trace_blocks
from wsiparse.annotations.clipping import clip_polygons
from wsiparse.annotations.outlines import Polygons
from wsiparse.annotations.polygons import join_blocks
from wsiparse.geometry import Grid


def outline(labels: Mask, slide: Grid, mpp: float, tolerance: float = 0.5) -> Polygons:
    """Outlines of a label map of `mpp` that covers a slide, whose last pixels may lie partly beyond it."""
    canvas = slide.at_mpp(mpp)
    labels = labels[: canvas.height, : canvas.width]
    found = join_blocks(trace_blocks(labels, None, 16), TARGETS, canvas, slide, tolerance)
    return np.array([annotation.polygon for annotation in found], object)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(DRAWERS)), st.integers(0, 2**20), st.floats(0.4, 9), st.integers(1, 9))
def test_no_outline_reaches_beyond_the_slide(kind: str, seed: int, scale: float, less: int) -> None:
    labels = draw_mask(kind, seed)
    height, width = (max(int(side * scale - less / 9 * scale), 1) for side in labels.shape)
    polygons = outline(labels, Grid(width, height, 1.0), scale)
    assert shapely.is_valid(polygons).all()
    assert not shapely.is_empty(polygons).any()
    # Half of QuPath's step, which is all that the slide has of an object along its edge, may be rounded away.
    left, top, right, bottom = shapely.bounds(polygons).T
    assert (left >= 0).all()
    assert (top >= 0).all()
    thin = shapely.area(shapely.intersection(polygons, shapely.box(0, 0, width, height))) < 0.01 * max(width, height)
    assert ((right <= width) | thin).all()
    assert ((bottom <= height) | thin).all()


def test_the_area_of_what_was_cut_is_what_the_slide_has_of_it() -> None:
    labels = np.ones((10, 10), np.uint8)
    (region,) = outline(labels, Grid(28, 29, 1.0), 3.0)
    assert region.equals(shapely.box(0, 0, 28, 29))


def test_what_is_grown_to_its_area_at_the_edge_grows_elsewhere() -> None:
    rows, columns = np.indices((60, 60))
    labels = (np.hypot(rows - 59, columns - 30) <= 20).astype(np.uint8)
    (half,) = outline(labels, Grid(240, 240, 1.0), 4.0)
    assert half.bounds[3] == 240
    assert half.area == pytest.approx(labels.sum() * 16, rel=1e-3)


def test_legs_that_meet_beyond_the_edge_are_parted() -> None:
    legs = shapely.Polygon([(0, 0), (2, 0), (2, 11), (4, 11), (4, 0), (6, 0), (6, 12), (0, 12)])
    (clipped,) = clip_polygons(np.array([legs], object), (20, 10))
    assert clipped.equals(shapely.MultiPolygon([shapely.box(0, 0, 2, 10), shapely.box(4, 0, 6, 10)]))


def test_what_lies_within_stays_the_same_object_and_what_lies_beyond_is_empty() -> None:
    inside, beyond = shapely.box(1, 1, 2, 2), shapely.box(3, 10, 4, 12)
    clipped = clip_polygons(np.array([inside, beyond], object), (20, 10))
    assert clipped[0] is inside
    assert clipped[1].is_empty


def test_an_object_in_a_strip_too_thin_for_qupaths_grid_is_kept() -> None:
    labels = np.zeros((10, 10), np.uint8)
    labels[9, 2:7] = 1
    (kept,) = outline(labels, Grid(30, 28, 1.0), 28 / 9.001)
    assert kept.area > 0

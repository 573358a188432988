from __future__ import annotations

import warnings

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tests.annotations.masks import DRAWERS, annotate, draw_mask, make_slide, trace_blocks
from wsiparse.annotations.outlines import Outlines
from wsiparse.annotations.simplify import simplify_outlines, snap_polygons
from wsiparse.annotations.tracing import trace_objects


def trace_exact(kind: str, seed: int) -> Outlines:
    objects, _ = ndimage.label(draw_mask(kind, seed) == 1)
    return trace_objects(objects)


@pytest.mark.parametrize("kind", sorted(DRAWERS))
def test_thousand_adversarial_masks_pass_the_import_rule_of_qupath(kind: str) -> None:
    """100 of each kind: valid, unchanged by QuPath's reduction, area within 0.1 %, holes kept."""
    for seed in range(100):
        outlines = trace_exact(kind, seed)
        scale = (1.0, 2.0, 4.0, 8.0)[seed % 4]
        polygons, exact = simplify_outlines(outlines, scale, 0.5), outlines.to_shapely()
        reduced = shapely.set_precision(polygons, 0.01)  # raises exactly where QuPath refuses the file
        assert shapely.is_valid(polygons).all()
        assert shapely.equals(polygons, reduced).all()
        assert (shapely.get_type_id(reduced) == shapely.GeometryType.POLYGON).all()
        assert np.allclose(shapely.area(polygons), shapely.area(exact) * scale**2, rtol=1e-3, atol=0)
        holes = [shapely.get_num_interior_rings(geometries) for geometries in (exact, reduced)]
        assert (holes[0] == holes[1]).all()


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(DRAWERS)), st.integers(0, 2**20), st.floats(0.3, 9), st.floats(0, 2))
def test_any_scale_and_tolerance_keeps_the_outline_near(kind: str, seed: int, scale: float, tolerance: float) -> None:
    outlines = trace_exact(kind, seed)
    polygons, exact = simplify_outlines(outlines, scale, tolerance), outlines.to_shapely()
    assert shapely.is_valid(polygons).all()
    back = shapely.transform(polygons, lambda points: points / scale)
    grid_step = 0.0075 / scale  # half the diagonal of QuPath's grid
    assert (shapely.hausdorff_distance(back, exact) <= 2 * tolerance + grid_step).all()
    # An exact outline changes its area by no more than the grid's rounding along its border.
    allowed = np.maximum(1e-3 * shapely.area(exact), grid_step * shapely.length(exact))
    assert (np.abs(shapely.area(back) - shapely.area(exact)) <= allowed * (1 + 1e-6)).all()


def test_a_disc_keeps_its_area_with_few_corners() -> None:
    rows, columns = np.indices((40, 40)) - 20
    mask = (np.hypot(rows, columns) <= 14).astype(np.uint8)
    (disc,) = annotate(mask)
    (exact,) = trace_objects(mask.astype(np.int32)).to_shapely()
    assert shapely.get_num_coordinates(disc.polygon) < shapely.get_num_coordinates(exact) / 1.5
    assert disc.polygon.area == pytest.approx(mask.sum() * 4, rel=1e-3)
    circle = shapely.Point(41, 41).buffer(np.sqrt(disc.polygon.area / np.pi), quad_segs=64)
    stairs = shapely.transform(exact, lambda points: points * 2)
    assert disc.polygon.symmetric_difference(circle).area < stairs.symmetric_difference(circle).area


def test_tolerance_zero_leaves_the_stairs() -> None:
    outlines = trace_exact("blobs", 4)
    polygons = simplify_outlines(outlines, 2.0, 0)
    assert shapely.equals(polygons, shapely.transform(outlines.to_shapely(), lambda points: points * 2)).all()


def test_snapping_refuses_what_qupath_refuses_and_drops_what_it_drops() -> None:
    bow_tie = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    with pytest.raises(shapely.GEOSException):
        snap_polygons(np.array([bow_tie], object))
    speck = shapely.Polygon([(0, 0), (0.001, 0), (0.001, 0.001)])
    assert shapely.is_empty(snap_polygons(np.array([speck], object))).all()


def test_no_warning_and_no_failure_where_level_0_is_far_coarser_than_the_canvas() -> None:
    labels = draw_mask("noise", 2)
    grid, slide = make_slide(labels, 0.02)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        annotations = annotate(labels, 0.02)
    assert annotations
    assert all(a.polygon.is_valid for a in annotations)
    assert trace_blocks(labels, None, 9)
    assert grid.scale_to(slide.grid) == pytest.approx(0.02)

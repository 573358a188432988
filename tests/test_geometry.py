from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from wsiparse.geometry import Grid, Region

sides = st.integers(1, 200_000)
mpps = st.floats(0.1, 10, allow_nan=False)
regions = st.builds(Region, st.integers(-999, 999), st.integers(-999, 999), st.integers(0, 500), st.integers(0, 500))


@given(regions, regions)
def test_intersection_is_symmetric_and_inside_both(a: Region, b: Region) -> None:
    both = a.intersect(b)
    assert both == b.intersect(a)
    assert both.area <= min(a.area, b.area)
    assert both.area == 0 or (both.x >= a.x and both.right <= a.right and both.y >= b.y and both.bottom <= b.bottom)


@given(sides, sides, mpps, mpps)
def test_a_grid_at_another_mpp_covers_the_slide_and_no_whole_pixel_more(
    w: int, h: int, mpp: float, other: float
) -> None:
    grid = Grid(w, h, mpp).at_mpp(other)
    assert grid.width * other >= w * mpp - 1e-3 * other
    assert (grid.width - 1) * other < w * mpp + 1e-3 * other


def test_a_landmark_at_the_far_corner_of_a_150k_slide_stays_within_half_a_pixel() -> None:
    level0 = Grid(150_001, 149_999, 0.2527)
    canvas = level0.at_mpp(0.5)
    x = 149_990.25
    there = x * level0.scale_to(canvas)
    assert abs(there * canvas.scale_to(level0) - x) < 1e-6
    assert math.isclose(there * canvas.mpp, x * level0.mpp, rel_tol=1e-12)


def test_exact_ratios_gain_no_pixel_from_rounding() -> None:
    assert Grid(4000, 3000, 0.25).at_mpp(0.5) == Grid(2000, 1500, 0.5)
    assert Grid(3000, 3000, 0.1).at_mpp(0.3) == Grid(1000, 1000, 0.3)


@given(st.integers(0, 10_000), st.integers(1, 5000), mpps, mpps)
def test_cover_contains_its_source(x: int, width: int, mpp: float, other: float) -> None:
    source, grid = Grid(20_000, 20_000, mpp), Grid(20_000, 20_000, mpp).at_mpp(other)
    covered = grid.cover(Region(x, 0, width, 1), source)
    scale = source.scale_to(grid)
    assert covered.x <= x * scale + 1e-5
    assert covered.right >= (x + width) * scale - 1e-5

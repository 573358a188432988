from __future__ import annotations

from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from tests.tiny import DARK, LIGHT
from wsiparse.errors import InputError
from wsiparse.maps.holes import HoleFilling, fill_holes
from wsiparse.ontology import Target

MAPS = arrays(np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.sampled_from([0, 1, 1, 2]))
FILLINGS = st.builds(HoleFilling, st.tuples(st.integers(0, 12), st.integers(0, 5)))


def fill(labels: Any, *most: int) -> NDArray[np.uint8]:
    filled = np.array(labels, np.uint8)
    fill_holes(filled, HoleFilling(most))
    return filled


def fill_by_scipy(labels: NDArray[np.uint8], filling: HoleFilling) -> NDArray[np.uint8]:
    """The same part by part: what lies around each tells whose it is."""
    ids, count = ndimage.label(labels == 0)
    filled = labels.copy()
    for number in range(1, count + 1):
        part = ids == number
        around = set(labels[ndimage.binary_dilation(part) & ~part].tolist())
        rows, columns = np.nonzero(part)
        inside = min(rows.min(), columns.min()) > 0 and rows.max() < len(ids) - 1 and columns.max() < ids.shape[1] - 1
        if not inside or len(around) != 1:
            continue
        [code] = around
        short = max(np.ptp(rows), np.ptp(columns)) < filling.reach
        if short and part.sum() <= filling.most[code - 1]:
            filled[part] = code
    return filled


@settings(deadline=None)
@given(MAPS, FILLINGS)
def test_holes_are_those_that_scipy_finds(labels: NDArray[np.uint8], filling: HoleFilling) -> None:
    filled = labels.copy()
    fill_holes(filled, filling)
    assert np.array_equal(filled, fill_by_scipy(labels, filling))


@settings(deadline=None)
@given(MAPS, FILLINGS, st.data())
def test_a_window_with_its_halo_is_filled_as_the_whole(
    labels: NDArray[np.uint8], filling: HoleFilling, data: st.DataObject
) -> None:
    halo = filling.reach
    whole = np.pad(labels, halo)
    top, left = (data.draw(st.integers(0, side - 1)) for side in labels.shape)
    height, width = (data.draw(st.integers(1, side)) for side in (labels.shape[0] - top, labels.shape[1] - left))
    window = whole[top : top + height + 2 * halo, left : left + width + 2 * halo].copy()
    fill_holes(whole, filling)
    fill_holes(window, filling)
    inside = np.s_[halo : halo + height, halo : halo + width]
    assert np.array_equal(window[inside], whole[top:, left:][inside])


def test_a_hole_is_filled_up_to_its_size_and_no_further() -> None:
    ring = [[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    assert fill(ring, 2).all()
    assert np.array_equal(fill(ring, 1), ring)


def test_what_reaches_the_border_or_lies_between_two_targets_is_no_hole() -> None:
    for labels in ([[1, 1, 1], [1, 0, 0], [1, 1, 1]], [[1, 1, 2], [1, 0, 2], [1, 1, 2]]):
        assert np.array_equal(fill(labels, 9, 9), labels)


def test_a_slender_hole_stays() -> None:
    slit = np.ones((3, 22), np.uint8)
    slit[1, 1:-1] = 0
    assert np.array_equal(fill(slit, 20), slit)
    assert HoleFilling((20,)).reach == 9
    assert fill(slit, 100).all()


def test_sizes_are_areas_on_a_canvas() -> None:
    filling = HoleFilling.of_targets([replace(DARK, min_hole_um2=2.0), LIGHT], 0.5)
    assert filling.most == (7, 0)  # 8 pixels are 2 µm² and stay
    assert HoleFilling.of_targets([DARK, LIGHT], 0.5).reach == 0


@pytest.mark.parametrize("area", [-1.0, 1e6, float("nan")])
def test_holes_without_measure_are_refused(area: float) -> None:
    with pytest.raises(InputError, match=r"target 'dark': min_hole_um2 .* expected"):
        Target("dark", "dark", "tone", (0, 0, 0), 0.5, min_hole_um2=area)

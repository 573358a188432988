"""Touching objects apart: discs, noise, a library's watershed, and independence of the window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from tests.annotations.discs import Mask, draw_discs, draw_noise
from wsiparse.annotations.splitting import Splitting, find_objects, split_objects
from wsiparse.errors import InputError

# Reaches so short that windows of drawn masks end inside them.
SMALL = Splitting(reach_um=4, max_radius_um=2)
TINY = Splitting(reach_um=2, max_radius_um=1, smoothing_um=0.4, min_distance_um=1)


def split(mask: Mask, options: Splitting | None = None) -> NDArray[np.int32]:
    return split_objects(mask, np.where(mask, 255, 0).astype(np.uint8), 0.5, options or Splitting())


def is_connected(ids: NDArray[np.int32]) -> bool:
    return all(ndimage.label(ids == n)[1] == 1 for n in range(1, ids.max() + 1))


@pytest.mark.parametrize("distance", [12, 13, 14])
@pytest.mark.parametrize("angle", range(0, 180, 15))
def test_two_overlapping_discs_are_parted_at_their_neck(distance: int, angle: int) -> None:
    turn = np.array([np.sin(np.radians(angle)), np.cos(np.radians(angle))])
    centers = np.array([(40, 40) - turn * distance / 2, (40, 40) + turn * distance / 2])
    ids = split(draw_discs((80, 80), centers, 7))
    assert ids.max() == 2
    rows, columns = np.nonzero(ids)
    side = (np.column_stack([rows, columns]) - 40) @ turn
    wrong = np.sign(side) != np.sign(side[ids[rows, columns] == 2].mean()) * np.where(ids[rows, columns] == 2, 1, -1)
    assert np.abs(side[wrong]).max(initial=0) <= 2


@pytest.mark.parametrize(("small", "large"), [(4, 10), (5, 8), (5, 12), (6, 9)])
def test_a_small_disc_beside_a_large_one_keeps_its_size(small: int, large: int) -> None:
    alone = draw_discs((60, 60), [(30, 20)], large)
    ids = split(alone | draw_discs((60, 60), [(30, 20 + large + small)], small))
    assert ids.max() == 2
    assert (ids == ids[30, 20])[alone].mean() > 0.99


@pytest.mark.parametrize("angle", range(0, 180, 15))
def test_an_ellipse_is_one_object(angle: int) -> None:
    rows, columns = np.indices((100, 100)) - 50.3
    turn = np.radians(angle)
    along, across = rows * np.sin(turn) + columns * np.cos(turn), rows * np.cos(turn) - columns * np.sin(turn)
    mask = (along / 22) ** 2 + (across / 7) ** 2 < 1
    assert split(mask).max() == 1


def test_probability_parts_what_the_outline_does_not() -> None:
    mask = np.zeros((40, 60), np.bool_)
    mask[14:26, 10:50] = True
    valley = np.where(np.abs(np.arange(60) - 29.5) < 2, 140, 250).astype(np.uint8)
    probability = np.where(mask, valley, 0).astype(np.uint8)
    ids = split_objects(mask, probability, 0.5, Splitting(max_radius_um=3, smoothing_um=0.5))
    assert ids[20, 15] != ids[20, 45]


def test_a_lattice_of_touching_discs_is_counted_exactly() -> None:
    centers = [(10 + 13 * row, 10 + 13 * column) for row in range(9) for column in range(12)]
    ids = split(draw_discs((125, 165), centers, 7))
    assert ids.max() == len(centers)
    assert len({ids[center] for center in centers}) == len(centers)


@settings(deadline=None, max_examples=40)
@given(draw_noise(), st.sampled_from([SMALL, Splitting(reach_um=3, max_radius_um=2, smoothing_um=0)]))
def test_objects_partition_the_mask_and_are_connected(
    noise: tuple[Mask, NDArray[np.uint8]], options: Splitting
) -> None:
    mask, probability = noise
    ids = split_objects(mask, probability, 0.5, options)
    np.testing.assert_array_equal(ids > 0, mask)
    assert is_connected(ids)
    firsts = [int(np.flatnonzero(ids == n)[0]) for n in range(1, ids.max() + 1)]
    assert firsts == sorted(firsts)


@settings(deadline=None, max_examples=40)
@given(draw_noise(), st.integers(0, 100), st.integers(1, 30), st.sampled_from([SMALL, TINY]))
def test_a_window_with_its_halo_knows_its_objects(
    noise: tuple[Mask, NDArray[np.uint8]], start: int, size: int, options: Splitting
) -> None:
    mask, probability = noise
    top, left, halo = start, (start * 7) % 101, options.find_halo(0.5)
    everything, centers = find_objects(mask, probability, 0.5, options)
    part = np.s_[max(top - halo, 0) : top + size + halo, max(left - halo, 0) : left + size + halo]
    ids, inner = find_objects(mask[part], probability[part], 0.5, options)
    inner += np.array([part[0].start, part[1].start])
    low, high = np.array([top, left]), np.array([top + size, left + size])
    expected = np.flatnonzero(((centers >= low) & (centers < high)).all(axis=1))
    found = np.flatnonzero(((inner >= low) & (inner < high)).all(axis=1))
    np.testing.assert_array_equal(inner[found], centers[expected])
    for here, there in zip(found + 1, expected + 1, strict=True):
        own = np.zeros(mask.shape, np.bool_)
        own[part] = ids == here
        np.testing.assert_array_equal(own, everything == there)


def test_it_agrees_with_a_librarys_watershed_from_the_same_centres() -> None:
    generator = np.random.default_rng(7)
    mask = draw_discs((400, 400), generator.integers(10, 390, (260, 2)), 7)
    probability = np.where(mask, 255, 0).astype(np.uint8)
    ids, centers = find_objects(mask, probability, 0.5, Splitting())
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(centers.T)] = np.arange(1, len(centers) + 1)
    smooth = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), 1.2)
    oracle = watershed(-smooth, markers, mask=mask)  # type: ignore[no-untyped-call]
    reached = ids > 0
    assert reached.sum() > 0.99 * (oracle > 0).sum()
    assert (ids == oracle)[reached].mean() > 0.95


def test_what_no_centre_reaches_stays_in_one_piece_beyond() -> None:
    mask = np.zeros((30, 400), np.bool_)
    mask[10:21, 5:395] = True
    ids, centers = find_objects(mask, mask.astype(np.uint8) * 255, 0.5, Splitting())
    columns = np.nonzero(ids)[1]
    reach = round(Splitting().reach_um / 0.5)
    assert np.abs(columns - centers[ids[ids > 0] - 1, 1]).max() <= reach
    assert is_connected(split(mask))


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (7, 0), (1, 1), (1, 9)])
@pytest.mark.parametrize("full", [True, False])
def test_tiny_masks(shape: tuple[int, int], full: bool) -> None:
    ids = split(np.full(shape, full))
    assert ids.shape == shape
    assert ids.max(initial=0) == (full and ids.size > 0)


def test_a_mask_whose_probability_is_zero_is_still_split() -> None:
    mask = draw_discs((40, 60), [(20, 20), (20, 33)], 7)
    assert split_objects(mask, np.zeros(mask.shape, np.uint8), 0.5, Splitting()).max() == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"neck": 0},
        {"neck": 1.1},
        {"reach_um": 0},
        {"max_radius_um": -1},
        {"smoothing_um": -0.1},
        {"min_distance_um": -1},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="splitting"):
        Splitting(**wrong)


def test_a_radius_of_too_many_pixels_is_refused() -> None:
    with pytest.raises(InputError, match="601 pixels"):
        Splitting(max_radius_um=601).find_halo(1)


def test_the_halo_shows_the_largest_object_considered() -> None:
    for mpp in (0.25, 0.5, 1.0):
        assert Splitting().find_halo(mpp) * mpp >= 2 * Splitting().reach_um

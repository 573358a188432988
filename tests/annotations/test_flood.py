"""The compiled watershed beside the same over whole arrays, step by step."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.annotations import whole_arrays
from tests.annotations.discs import Mask, draw_noise
from wsiparse.annotations.flood import flood_objects
from wsiparse.annotations.relief import find_outranked, find_summits
from wsiparse.annotations.splitting import Splitting, _raise_relief, _Scale

options = st.builds(
    Splitting,
    min_distance_um=st.floats(0, 5),
    smoothing_um=st.floats(0, 1),
    neck=st.floats(0.1, 1),
    max_radius_um=st.floats(0.5, 9),
    reach_um=st.floats(0.5, 20),
)


@settings(deadline=None, max_examples=100)
@given(draw_noise(), options)
def test_relief_centres_and_flood_are_those_of_whole_arrays(
    noise: tuple[Mask, NDArray[np.uint8]], options: Splitting
) -> None:
    mask, probability = noise
    scale = _Scale.of(options, 0.5)
    relief = _raise_relief(mask, probability, scale)
    np.testing.assert_array_equal(relief, whole_arrays.raise_relief(mask, probability, scale))
    summits = find_summits(relief)
    outranked = find_outranked(relief, summits, 2 * scale.radius, scale.distance, scale.neck)
    expected = whole_arrays.find_centers(relief, scale)
    np.testing.assert_array_equal(summits[~outranked], expected)
    ids, flooded = np.zeros_like(relief), whole_arrays.flood_objects(relief, expected, scale)
    flood_objects(relief, expected, scale.neck, scale.uphill, scale.sweeps, ids)
    np.testing.assert_array_equal(ids, flooded)

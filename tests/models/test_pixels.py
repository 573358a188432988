from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wsiparse.models.pixels import resize_pixels


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**31))
def test_square_tiles_are_resized_bit_for_bit_as_pillow_does(before: int, after: int, seed: int) -> None:
    tiles = np.random.default_rng(seed).integers(0, 256, (2, before, before, 3), np.uint8)
    wanted = [np.asarray(Image.fromarray(tile).resize((after, after), Image.Resampling.BICUBIC)) for tile in tiles]
    np.testing.assert_array_equal(resize_pixels(torch.from_numpy(tiles), after, after).numpy(), np.stack(wanted))


def test_the_tile_sizes_in_use_are_resized_bit_for_bit_as_pillow_does() -> None:
    for side in (256, 512, 768, 1000, 1024):
        tile = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
        wanted = np.asarray(Image.fromarray(tile).resize((1024, 1024), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(resize_pixels(torch.from_numpy(tile)[None], 1024, 1024)[0].numpy(), wanted)


def test_a_solid_tile_stays_solid() -> None:
    for shade in (0, 1, 127, 254, 255):
        assert (resize_pixels(torch.full((1, 37, 37, 3), shade, dtype=torch.uint8), 101, 101) == shade).all()

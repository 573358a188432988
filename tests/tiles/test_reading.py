from __future__ import annotations

from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.readers import ArrayReader, draw_noise
from wsiparse.tiles.plan import Tiling, plan_tiles
from wsiparse.tiles.reading import read_block
from wsiparse.tiles.resample import read_grid


@given(
    st.sampled_from([(137, 151), (21, 151), (137, 9), (17, 13)]),
    st.sampled_from([0.5, 0.73]),
    st.builds(lambda *cut: cut, st.sampled_from([0, 4, 10]), st.integers(1, 3), st.sampled_from([0, 4])),
    st.integers(1, 20_000),
)
@settings(deadline=None, max_examples=80)
def test_tiles_are_the_slide_whatever_the_bands(
    size: tuple[int, int], mpp: float, cut: tuple[int, int, int], band_bytes: int
) -> None:
    reader = ArrayReader(draw_noise(*size))
    tiling = Tiling(reader.slide.grid.at_mpp(mpp), 32, *cut)
    full = read_grid(reader, tiling.grid, tiling.grid.region)
    # The last core may reach beyond the slide by almost a tile.
    mirrored = np.pad(full, ((32, 32), (32, 32), (0, 0)), "symmetric")
    for block in plan_tiles(reader.slide, tiling, None).blocks:
        with patch("wsiparse.tiles.reading.BAND_BYTES", band_bytes):
            tiles = read_block(reader, tiling, block).pixels
        for tile, core in zip(tiles, block.cores, strict=True):
            shown = tiling.show(core).shift(32, 32)
            assert tile.shape[:2] == (shown.height, shown.width)
            inside = shown.intersect(tiling.grid.region.shift(32, 32)).shift(-shown.x, -shown.y)
            np.testing.assert_array_equal(tile[inside.slices], mirrored[shown.slices][inside.slices])
            # A tile of which half and more is slide needs no more than its own inner part for the mirror.
            if 2 * inside.width >= shown.width and 2 * inside.height >= shown.height:
                np.testing.assert_array_equal(tile, mirrored[shown.slices])

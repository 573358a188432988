from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.readers import ArrayReader, draw_noise
from wsiparse.errors import MppError, PlanError
from wsiparse.geometry import Grid
from wsiparse.slides.slide import Slide
from wsiparse.tiles.plan import Tiling, choose_grid, plan_tiles
from wsiparse.tiles.reading import read_block
from wsiparse.tiles.stitch import cut_tiles, stitch_tiles

tilings = st.builds(
    lambda w, h, tile, half, side, step: Tiling(Grid(w, h, 0.5), tile, 2 * min(half, (tile - 1) // 2), side, step),
    st.integers(1, 120),
    st.integers(1, 120),
    st.integers(8, 64),
    st.integers(0, 30),
    st.integers(1, 5),
    st.sampled_from([0, 1, 8]),
)


def slide_of(grid: Grid) -> Slide:
    return Slide("drawn", "memory", (grid,), "manifest")


@given(tilings)
@settings(deadline=None)
def test_cores_partition_the_canvas_exactly_once(tiling: Tiling) -> None:
    plan = plan_tiles(slide_of(tiling.grid), tiling)
    owners = np.zeros((tiling.grid.height, tiling.grid.width), int)
    blocks = np.zeros_like(owners)
    for block in plan.blocks:
        blocks[block.region.slices] += 1
        for core in block.cores:
            owners[core.intersect(tiling.grid.region).slices] += 1
            assert core.intersect(block.region) == core.intersect(tiling.grid.region)
    assert (owners == 1).all()
    assert (blocks == 1).all()


@given(tilings, st.sampled_from(["constant", "ramp"]))
@settings(deadline=None, max_examples=60)
def test_constant_stays_constant_and_ramp_stays_ramp(tiling: Tiling, kind: str) -> None:
    grid = tiling.grid
    y, x = np.mgrid[: grid.height, : grid.width]
    plane = np.full(x.shape, 77) if kind == "constant" else (x + y) % 251
    reader = ArrayReader(np.repeat(plane[..., None], 3, 2).astype(np.uint8))
    plan = plan_tiles(reader.slide, tiling)
    canvas = np.zeros((grid.height, grid.width), np.uint8)
    for block in plan.blocks:
        batch = read_block(reader, tiling, block)
        echoed = batch.pixels[..., :1].transpose(0, 3, 1, 2)  # a model that answers with the red channel
        canvas[block.region.slices] = next(stitch_tiles(echoed, tiling, block))
    np.testing.assert_array_equal(canvas, plane)


@given(tilings, st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_maps_cut_into_tiles_come_back_target_by_target(tiling: Tiling, seed: int) -> None:
    grid = tiling.grid
    maps = np.random.default_rng(seed).integers(0, 256, (2, grid.height, grid.width), dtype=np.uint8)
    for block in plan_tiles(ArrayReader(draw_noise(grid.width, grid.height)).slide, tiling).blocks:
        values = maps[:, *block.region.slices]
        stitched = [layer.copy() for layer in stitch_tiles(cut_tiles(values, tiling, block), tiling, block)]
        np.testing.assert_array_equal(stitched, values)


def test_tiles_are_mirrored_beyond_the_slide() -> None:
    tiling = Tiling(Grid(20, 20, 0.5), 16, 8, 2)
    pixels = draw_noise(20, 20)
    reader = ArrayReader(pixels)
    batch = read_block(reader, tiling, plan_tiles(reader.slide, tiling).blocks[0])
    np.testing.assert_array_equal(batch.pixels[0, 4:, 4:], pixels[:12, :12])
    np.testing.assert_array_equal(batch.pixels[0, :4, 4:], pixels[3::-1, :12])
    np.testing.assert_array_equal(batch.pixels[0, 4:, :4], pixels[:12, 3::-1])


def test_a_slide_smaller_than_a_tile_is_mirrored_until_the_tile_is_full() -> None:
    tiling = Tiling(Grid(5, 7, 0.5), 32, 8, 1)
    pixels = draw_noise(5, 7)
    reader = ArrayReader(pixels)
    tile = read_block(reader, tiling, plan_tiles(reader.slide, tiling).blocks[0]).pixels[0]
    np.testing.assert_array_equal(tile, np.pad(pixels, ((4, 21), (4, 23), (0, 0)), mode="symmetric"))


def test_a_level_close_to_the_working_mpp_is_used_as_it_is() -> None:
    slide = Slide("s", "p", (Grid(4000, 3000, 0.2499), Grid(1000, 750, 0.9996)), "manifest")
    assert choose_grid(slide, 0.25) == slide.levels[0]
    assert choose_grid(slide, 1.0) == slide.levels[1]


def test_a_canvas_has_whole_pixels_of_the_slide_where_it_can() -> None:
    slide = Slide("s", "p", (Grid(4000, 3000, 0.2499), Grid(1000, 750, 0.9996)), "manifest")
    assert choose_grid(slide, 0.5) == Grid(2000, 1500, 0.4998)
    assert choose_grid(slide, 0.125) == Grid(8000, 6000, 0.12495)
    assert choose_grid(slide, 3.0) == slide.grid.at_mpp(3 * 0.9996)
    for mpp in (0.06, 0.2, 0.6, 1.5):
        assert choose_grid(slide, mpp) == slide.grid.at_mpp(mpp)


def test_a_slide_that_would_be_magnified_into_nothing_is_refused() -> None:
    slide = Slide("s", "p", (Grid(400, 300, 20.0),), "manifest")
    assert choose_grid(slide, 2.5) == slide.grid.at_mpp(2.5)
    with pytest.raises(
        MppError, match=r"20 µm per pixel \(manifest\) for what is looked for at 0.25; expected at most 8"
    ):
        choose_grid(slide, 0.25)


@pytest.mark.parametrize(("overlap", "side"), [(64, 4), (-2, 4), (3, 4), (8, 0)])
def test_an_impossible_cut_is_refused(overlap: int, side: int) -> None:
    with pytest.raises(PlanError, match="expected"):
        Tiling(Grid(100, 100, 0.5), 64, overlap, side)


def test_a_plan_pickles_and_its_digest_does_not_know_the_path() -> None:
    tiling = Tiling(Grid(100, 90, 0.5), 32, 8, 2)
    here = plan_tiles(Slide("s", "/here/s.svs", (tiling.grid,), "manifest", fingerprint="f"), tiling)
    there = plan_tiles(Slide("s", "/there/s.svs", (tiling.grid,), "manifest", fingerprint="f"), tiling)
    assert pickle.loads(pickle.dumps(here)) == here
    assert here.digest == there.digest
    assert here.digest != plan_tiles(slide_of(tiling.grid), tiling).digest


def test_noise_reads_the_same_in_blocks_of_any_size() -> None:
    reader = ArrayReader(draw_noise(211, 173))
    grid = reader.slide.grid.at_mpp(0.81)
    maps = []
    for side in (1, 2, 5):
        tiling = Tiling(grid, 32, 8, side)
        canvas = np.zeros((grid.height, grid.width), np.uint8)
        for block in plan_tiles(reader.slide, tiling).blocks:
            batch = read_block(reader, tiling, block)
            canvas[block.region.slices] = next(stitch_tiles(batch.pixels.transpose(0, 3, 1, 2), tiling, block))
        maps.append(canvas)
    np.testing.assert_array_equal(maps[0], maps[1])
    np.testing.assert_array_equal(maps[0], maps[2])


@given(tilings)
@settings(deadline=None)
def test_a_tile_shows_its_core_and_margins_and_little_beyond_the_canvas(tiling: Tiling) -> None:
    whole = tiling.grid.region.grow(tiling.margin)
    for block in plan_tiles(slide_of(tiling.grid), tiling).blocks:
        for core in block.cores:
            shown = tiling.show(core)
            assert shown.intersect(whole) == core.grow(tiling.margin).intersect(whole)
            assert max(tiling.shape) <= tiling.tile
    if tiling.stride:
        lengths = (tiling.grid.height, tiling.grid.width)
        assert all(s < n + tiling.overlap + tiling.stride for s, n in zip(tiling.shape, lengths, strict=True))
    else:
        assert tiling.shape == (tiling.tile, tiling.tile)

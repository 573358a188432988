from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from tests.maps.drawing import DIGEST, TARGETS, cut, draw_maps, draw_tiling, list_blocks, write_canvas
from wsiparse.geometry import Grid
from wsiparse.maps.canvas import Canvas, create_canvas, open_canvas, read_region, write_block
from wsiparse.maps.metadata import list_levels
from wsiparse.maps.pyramid import build_pyramid, pool_mean, pool_mode
from wsiparse.maps.shards import find_shards
from wsiparse.tiles.plan import Tiling

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))


def squares(values: NDArray[np.uint8]) -> list[tuple[tuple[int, ...], list[int]]]:
    """Every place of the halved array with the values it stands for."""
    count, height, width = values.shape
    places = np.ndindex(count, -(-height // 2), -(-width // 2))
    return [(p, values[p[0], 2 * p[1] : 2 * p[1] + 2, 2 * p[2] : 2 * p[2] + 2].ravel().tolist()) for p in places]


@settings(deadline=None, max_examples=80)
@given(arrays(np.uint8, SHAPES))
def test_the_mean_is_over_the_pixels_that_exist_and_halves_round_up(values: NDArray[np.uint8]) -> None:
    pooled = pool_mean(values)
    for place, square in squares(values):
        assert pooled[place] == int(sum(square) / len(square) + 0.5)


@settings(deadline=None, max_examples=80)
@given(arrays(np.uint8, SHAPES, elements=st.integers(0, 3)))
def test_the_mode_is_the_commonest_code_and_the_first_of_equals(values: NDArray[np.uint8]) -> None:
    pooled = pool_mode(values)
    for place, square in squares(values):
        assert pooled[place] == max(square, key=square.count)


@pytest.mark.parametrize(
    ("width", "height", "count"), [(512, 512, 1), (513, 4, 2), (100_000, 80_001, 9), (1, 1, 1), (1024, 1, 2)]
)
def test_levels_end_once_no_side_is_longer_than_512(width: int, height: int, count: int) -> None:
    levels = list_levels(Grid(width, height, 0.25))
    assert len(levels) == count
    assert max(levels[-1].width, levels[-1].height) <= 512
    for n, level in enumerate(levels):
        assert (level.width, level.height) == (-(-width // 2**n), -(-height // 2**n))
        assert level.mpp == 0.25 * 2**n


def build(path: Path, tiling: Tiling, values: NDArray[np.uint8]) -> Canvas:
    canvas = create_canvas(path, DIGEST, tiling, TARGETS)
    write_canvas(canvas, values)
    build_pyramid(canvas)
    return canvas


def read_level(canvas: Canvas, level: int) -> NDArray[np.uint8]:
    return read_region(canvas, list_levels(canvas.grid)[level].region, level)


@pytest.mark.parametrize("core", [128, 101])
def test_a_pyramid_built_by_shards_is_the_pyramid_of_the_whole(tmp_path: Path, core: int) -> None:
    tiling = Tiling(Grid(2111, 1347, 0.5), core, 0, 3)
    expected = draw_maps(tiling.grid, 3)
    canvas = build(tmp_path / "pass", tiling, expected)
    assert len(list_levels(tiling.grid)) == 4
    for level in range(1, 4):
        expected = pool_mean(expected)
        assert np.array_equal(read_level(canvas, level), expected)


def test_strips_of_a_tall_shard_meet_without_a_seam(tmp_path: Path) -> None:
    tiling = Tiling(Grid(40, 3001, 0.5), 1100, 0, 1)
    values = draw_maps(tiling.grid, 3)
    canvas = build(tmp_path / "pass", tiling, values)
    assert np.array_equal(read_level(canvas, 1), pool_mean(values))


@pytest.mark.parametrize("value", [0, 1, 127, 255])
def test_a_constant_stays_constant(tmp_path: Path, value: int) -> None:
    tiling = draw_tiling(1501, 1103)
    canvas = build(tmp_path / "pass", tiling, np.full((3, 1103, 1501), value, np.uint8))
    for level in range(3):
        assert (read_level(canvas, level) == value).all()


def test_only_shards_over_something_written_are_made(tmp_path: Path) -> None:
    canvas = create_canvas(tmp_path / "pass", DIGEST, draw_tiling(1501, 1103), TARGETS)
    block = next(block for block in list_blocks(canvas.tiling) if (block.row, block.column) == (4, 5))
    write_block(canvas, block, cut(draw_maps(canvas.grid, 3), block.region))
    build_pyramid(canvas)
    assert find_shards(canvas.level_path(1)) == {(2, 2)}
    assert find_shards(canvas.level_path(2)) == {(1, 1)}


def test_building_again_gives_the_same_bytes_and_keeps_the_canvas(tmp_path: Path) -> None:
    tiling = draw_tiling(1501, 1103)
    canvas = build(tmp_path / "pass", tiling, draw_maps(tiling.grid, 3))
    files = {file: file.read_bytes() for file in Path(canvas.path).rglob("*") if file.is_file()}
    build_pyramid(canvas)
    assert files == {file: file.read_bytes() for file in Path(canvas.path).rglob("*") if file.is_file()}
    assert open_canvas(canvas.path) == canvas

from __future__ import annotations

import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tests.maps.drawing import DIGEST, TARGETS, cut, draw_maps, draw_tiling, list_blocks, write_canvas
from wsiparse.errors import OutputError, RunError
from wsiparse.geometry import Grid, Region
from wsiparse.maps import shards
from wsiparse.maps.canvas import (
    Canvas,
    create_canvas,
    create_store,
    list_canvases,
    open_canvas,
    read_attributes,
    read_region,
    write_block,
    write_group,
    written_blocks,
)
from wsiparse.maps.shards import choose_chunk
from wsiparse.tiles.plan import Block, Tiling


@pytest.fixture
def canvas(tmp_path: Path) -> Canvas:
    return create_canvas(tmp_path / "0.5um", DIGEST, draw_tiling(), TARGETS)


def files_of(canvas: Canvas) -> list[str]:
    folder = canvas.level_path(0) / "c"
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    "tiling",
    [
        draw_tiling(),
        draw_tiling(512, 256),
        draw_tiling(1, 1),
        draw_tiling(97, 613, core=51, side=3),
        Tiling(Grid(300, 301, 0.5), 101, 0, 1),
    ],
)
def test_what_is_written_block_by_block_is_read_back_anywhere(tmp_path: Path, tiling: Tiling) -> None:
    canvas = create_canvas(tmp_path / "pass", DIGEST, tiling, TARGETS)
    values = draw_maps(tiling.grid, 3)
    write_canvas(canvas, values)
    assert np.array_equal(read_region(canvas, tiling.grid.region), values)
    assert written_blocks(canvas) == {(block.row, block.column) for block in list_blocks(tiling)}


def test_a_region_over_the_edge_is_padded_with_zeros(canvas: Canvas) -> None:
    values = np.maximum(draw_maps(canvas.grid, 3), np.uint8(1))
    write_canvas(canvas, values)
    region = Region(-7, 400, 50, 60)
    found = read_region(canvas, region)
    assert found.shape == (3, 60, 50)
    assert np.array_equal(found[:, :30, 7:], values[:, 400:, :43])
    assert found.sum() == values[:, 400:, :43].sum(dtype=np.int64)
    assert not read_region(canvas, Region(5000, 5000, 4, 4)).any()


def test_blocks_that_were_not_written_read_as_zeros(canvas: Canvas) -> None:
    block = list(list_blocks(canvas.tiling))[4]
    values = draw_maps(canvas.grid, 3)
    write_block(canvas, block, cut(values, block.region))
    found = read_region(canvas, canvas.grid.region)
    assert np.array_equal(cut(found, block.region), cut(values, block.region))
    assert found.sum() == cut(values, block.region).sum(dtype=np.int64)
    assert written_blocks(canvas) == {(1, 1)}


def test_a_block_of_zeros_is_a_block_that_is_done(canvas: Canvas) -> None:
    block = list(list_blocks(canvas.tiling))[5]
    write_block(canvas, block, np.zeros((3, block.region.height, block.region.width), np.uint8))
    assert written_blocks(canvas) == {(block.row, block.column)} == {(1, 2)}


def test_an_edge_shard_is_one_file_with_nothing_left_beside_it(canvas: Canvas) -> None:
    corner = list(list_blocks(canvas.tiling))[-1]
    assert corner.region == Region(512, 256, 188, 174)
    write_block(canvas, corner, np.full((3, 174, 188), 9, np.uint8))
    assert files_of(canvas) == ["0/1/2"]


def test_writing_a_block_again_gives_the_same_bytes_and_does_not_read_a_damaged_one(canvas: Canvas) -> None:
    block = next(list_blocks(canvas.tiling))
    values = cut(draw_maps(canvas.grid, 3), block.region)
    write_block(canvas, block, values)
    file = canvas.level_path(0) / "c" / "0" / "0" / "0"
    content = file.read_bytes()
    file.write_bytes(content[:100])
    write_block(canvas, block, values)
    assert file.read_bytes() == content


@pytest.mark.parametrize("kept", [5, 1000, -300])
def test_a_shard_that_was_cut_short_is_reported_in_one_line(canvas: Canvas, kept: int) -> None:
    write_canvas(canvas, draw_maps(canvas.grid, 3))
    file = canvas.level_path(0) / "c" / "0" / "1" / "1"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(OutputError, match="damaged shard") as caught:
        read_region(canvas, Region(300, 300, 10, 10))
    assert "\n" not in str(caught.value)


def test_a_shard_whose_bytes_never_reached_the_disk_is_not_done(canvas: Canvas) -> None:
    write_canvas(canvas, draw_maps(canvas.grid, 3))
    (canvas.level_path(0) / "c" / "0" / "1" / "1").write_bytes(b"")
    assert written_blocks(canvas) == {(0, 0), (0, 1), (0, 2), (1, 0), (1, 2)}


def test_leftovers_of_a_killed_writer_do_not_count_and_go_when_the_canvas_is_taken_up(canvas: Canvas) -> None:
    write_canvas(canvas, draw_maps(canvas.grid, 3))
    done = files_of(canvas)
    (canvas.level_path(0) / "c" / "0" / "1" / "1").rename(canvas.level_path(0) / "c" / "0" / "1" / "1.5f.partial")
    (canvas.level_path(0) / "c" / "0" / "0" / "7.ab12.partial").write_bytes(b"half")
    assert (1, 1) not in written_blocks(canvas)
    assert create_canvas(canvas.path, DIGEST, canvas.tiling, TARGETS) == canvas
    assert files_of(canvas) == [name for name in done if name != "0/1/1"]


def test_a_canvas_that_was_killed_while_it_was_made_is_made_again(canvas: Canvas) -> None:
    Path(canvas.path, "zarr.json").unlink()
    assert create_canvas(canvas.path, DIGEST, canvas.tiling, TARGETS) == open_canvas(canvas.path)


def test_a_canvas_is_opened_as_it_was_made_and_pickles(canvas: Canvas) -> None:
    assert open_canvas(canvas.path) == canvas
    assert pickle.loads(pickle.dumps(canvas)) == canvas


def test_another_plan_is_refused_with_both_digests(canvas: Canvas) -> None:
    with pytest.raises(RunError, match=r"holds plan 01234567, expected ffffffff; .* begin it anew"):
        create_canvas(canvas.path, "f" * 64, canvas.tiling, TARGETS)


def test_other_targets_are_refused_even_under_the_same_digest(canvas: Canvas) -> None:
    with pytest.raises(RunError, match=r"other targets or tiles \(\['gland', 'tumour', 'nucleus'\]\)"):
        create_canvas(canvas.path, DIGEST, canvas.tiling, TARGETS[:2])


def test_what_is_no_canvas_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    with pytest.raises(OutputError, match="without the attribute 'wsiparse'"):
        create_canvas(tmp_path, DIGEST, draw_tiling(), TARGETS)


def test_the_canvases_of_a_slide_are_listed(tmp_path: Path) -> None:
    assert list_canvases(tmp_path / "parse.zarr") == ()
    create_store(tmp_path / "parse.zarr", ["2um", "0.5um"])
    made = [create_canvas(tmp_path / "parse.zarr" / name, DIGEST, draw_tiling(), TARGETS) for name in ("2um", "0.5um")]
    assert list_canvases(tmp_path / "parse.zarr") == (made[1], made[0])


def test_a_folder_without_canvas_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no readable Zarr group"):
        open_canvas(tmp_path / "nothing")


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Not a directory; expected to write here") as caught:
        create_canvas(tmp_path / "file" / "pass", DIGEST, draw_tiling(), TARGETS)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_one_line_and_leaves_no_shard(canvas: Canvas, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        write_canvas(canvas, draw_maps(canvas.grid, 3))
    assert files_of(canvas) == []


def test_a_canvas_that_goes_while_a_block_is_packed_is_not_made_anew(
    canvas: Canvas, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, shard_file = Path(canvas.path), shards.shard_file

    def unmount(*place: Any) -> Path:
        folder.rename(folder.with_name("elsewhere"))
        return shard_file(*place)

    monkeypatch.setattr(shards, "shard_file", unmount)
    with pytest.raises(OutputError, match="Stale file handle"):
        write_constant(canvas, next(list_blocks(canvas.tiling)), 1)
    assert not folder.exists()


@pytest.mark.parametrize("shape", [(3, 256, 255), (2, 256, 256), (4, 256, 256)])
def test_a_block_of_another_size_is_refused(canvas: Canvas, shape: tuple[int, int, int]) -> None:
    with pytest.raises(OutputError, match="expected uint8"):
        write_block(canvas, next(list_blocks(canvas.tiling)), np.zeros(shape, np.uint8))


def write_constant(canvas: Canvas, block: Block, value: int) -> None:
    write_block(canvas, block, np.full((3, block.region.height, block.region.width), value, np.uint8))


def test_neighbouring_blocks_written_from_several_processes_lose_nothing(canvas: Canvas) -> None:
    blocks = list(list_blocks(canvas.tiling))
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(write_constant, canvas, block, n) for n, block in enumerate(blocks, start=1)]
        for job in jobs:
            job.result()
    found = read_region(canvas, canvas.grid.region)
    for n, block in enumerate(blocks, start=1):
        assert (cut(found, block.region) == n).all()


@pytest.mark.parametrize(
    ("block", "chunk"), [(4096, 512), (3968, 496), (896 * 4, 512), (640, 640), (200, 200), (1009, 1009), (2 * 401, 401)]
)
def test_inner_chunks_divide_the_block(block: int, chunk: int) -> None:
    assert choose_chunk(block) == chunk
    assert block % chunk == 0


def test_a_group_is_the_file_that_zarr_would_write(tmp_path: Path) -> None:
    attributes = {"ome": {"version": "0.5", "omero": {"scale": 1 / 255, "empty": [], "name": "µ"}}, "other": None}
    write_group(tmp_path / "ours", attributes)
    zarr.create_group(store=str(tmp_path / "theirs"), attributes=attributes)
    assert (tmp_path / "ours/zarr.json").read_bytes() == (tmp_path / "theirs/zarr.json").read_bytes()
    write_group(tmp_path / "ours", {"other": [1, {}]})
    zarr.open_group(store=str(tmp_path / "theirs"), mode="r+").update_attributes({"other": [1, {}]})
    assert (tmp_path / "ours/zarr.json").read_bytes() == (tmp_path / "theirs/zarr.json").read_bytes()
    assert read_attributes(tmp_path / "ours") == {**attributes, "other": [1, {}]}


def test_what_is_no_group_is_refused_in_one_line(canvas: Canvas, tmp_path: Path) -> None:
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "zarr.json").write_text('{"attributes"')
    for path in (tmp_path / "torn", tmp_path / "absent", canvas.level_path(0)):
        with pytest.raises(OutputError, match="no readable Zarr group; expected a canvas of a run"):
            read_attributes(path)

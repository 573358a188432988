"""Chunks written and placed by hand against what zarr itself writes and reads."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsiparse.errors import DamagedError, OutputError
from wsiparse.geometry import Grid, Region
from wsiparse.maps.shards import create_array, create_like, open_shards, read_pixels, shard_file, write_shard

SIDES = {"maps": (3, 1100, 900), "codes": (1100, 900)}
BLOCK = 768


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arrays")
    rng = np.random.default_rng(0)
    for name, dtype in (("maps", np.uint8), ("codes", np.uint16)):
        create_array(folder / name, SIDES[name], BLOCK, dtype)
        for x, y in ((0, 0), (0, BLOCK), (BLOCK, BLOCK)):
            region = Region(x, y, BLOCK, BLOCK).intersect(Region(0, 0, 900, 1100))
            values: NDArray[np.int64] = rng.integers(0, 200, (*SIDES[name][:-2], region.height, region.width))
            write_shard(folder / name, region, values.astype(dtype).reshape(-1, region.height, region.width))
    return folder


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(sorted(SIDES)), st.tuples(*[st.integers(-50, 1100)] * 2), st.tuples(*[st.integers(1, 500)] * 2))
def test_any_region_is_what_zarr_reads(arrays: Path, name: str, corner: tuple[int, int], size: tuple[int, int]) -> None:
    whole = np.asarray(zarr.open_array(store=str(arrays / name), mode="r")[...])
    framed = np.pad(whole, [(0, 0)] * (whole.ndim - 2) + [(50, 600), (50, 800)])
    region = Region(*corner, *size)
    np.testing.assert_array_equal(read_pixels(arrays / name, region), framed[(..., *region.shift(50, 50).slices)])


def list_chunks(file: Path, count: int) -> list[bytes]:
    """Each chunk's frame in the order of the shard's axes; empty for one that is not there."""
    content = file.read_bytes()
    numbers = np.frombuffer(content[-16 * count - 4 : -4], "<u8").reshape(-1, 2).astype(np.int64)
    return [content[start : start + length] if start >= 0 else b"" for start, length in numbers.tolist()]


@pytest.mark.parametrize("name", sorted(SIDES))
def test_shards_hold_the_chunks_that_zarr_would_write(arrays: Path, tmp_path: Path, name: str) -> None:
    ours = zarr.open_array(store=str(arrays / name), mode="r")
    create_array(tmp_path / name, ours.shape, BLOCK, ours.dtype)
    theirs = zarr.open(store=str(tmp_path / name), mode="r+", config={"write_empty_chunks": True})
    assert isinstance(theirs, zarr.Array)
    for row, column in ((0, 0), (1, 0), (1, 1)):
        region = Region(column * BLOCK, row * BLOCK, BLOCK, BLOCK).intersect(Region(0, 0, 900, 1100))
        theirs[(..., *region.slices)] = ours[(..., *region.slices)]
        pair = [shard_file(folder / name, ours.ndim, row, column) for folder in (arrays, tmp_path)]
        count = int(np.prod(SIDES[name][:-2], dtype=int)) * (BLOCK // ours.chunks[-1]) ** 2
        found, wanted = (list_chunks(file, count) for file in pair)
        assert list(map(bool, found)) == list(map(bool, wanted))
        assert [imagecodecs.zstd_decode(frame) for frame in found if frame] == [
            imagecodecs.zstd_decode(frame) for frame in wanted if frame
        ]


@pytest.mark.parametrize("place", [0, -10])
def test_a_shard_with_wrong_bytes_is_not_read(tmp_path: Path, place: int) -> None:
    create_array(tmp_path / "a", (300, 300), 300, np.uint8)
    write_shard(tmp_path / "a", Region(0, 0, 300, 300), np.arange(90000).reshape(1, 300, 300).astype(np.uint8))
    file = shard_file(tmp_path / "a", 2, 0, 0)
    content = bytearray(file.read_bytes())
    content[place] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(OutputError, match="damaged shard"):
        read_pixels(tmp_path / "a", Region(0, 0, 10, 10))


def test_what_is_no_array_of_ours_is_refused_in_one_line(tmp_path: Path) -> None:
    zarr.create_array(store=str(tmp_path / "unsharded"), shape=(8, 8), chunks=(4, 4), dtype=np.uint8)
    zarr.create_group(store=str(tmp_path / "group"))
    for name in ("torn", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "torn" / "zarr.json").write_text('{"shape": [8, 8]')
    for name in ("unsharded", "group", "torn", "empty", "absent"):
        with pytest.raises(
            DamagedError, match=rf"{name}: .*; expected a Zarr array of a run, delete the slide's"
        ) as caught:
            read_pixels(tmp_path / name, Region(0, 0, 4, 4))
        with pytest.raises(DamagedError, match=f"{name}: .*; expected a Zarr array of a run"):
            create_like(tmp_path / "coarse", tmp_path / name, Grid(4, 4, 1.0))
        assert "\n" not in str(caught.value)


def test_an_array_made_anew_is_seen_as_it_is(tmp_path: Path) -> None:
    for shape in ((1100, 900), (3, 500, 400)):
        create_array(tmp_path / "array", shape, BLOCK, np.uint8)
        assert open_shards(tmp_path / "array").shape == shape


@pytest.mark.parametrize("name", sorted(SIDES))
def test_a_coarser_array_is_described_as_zarr_would(arrays: Path, tmp_path: Path, name: str) -> None:
    coarse = Grid(450, 550, 1.0)
    create_like(tmp_path / "ours", arrays / name, coarse)
    dtype = zarr.open_array(store=str(arrays / name), mode="r").dtype
    create_array(tmp_path / "theirs", (*SIDES[name][:-2], coarse.height, coarse.width), BLOCK, dtype)
    assert (tmp_path / "ours/zarr.json").read_bytes() == (tmp_path / "theirs/zarr.json").read_bytes()

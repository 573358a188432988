"""Shards of one Zarr array over a grid: written whole, found by their files, read where they are.

A shard is the pixels of one block over all leading axes. It is written under a temporary name and renamed, so its file
is there when the block is done and not before. The last two axes of every array are y and x.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import zarr
from zarr.codecs import ZstdCodec

from wsiparse.errors import DamagedError, OutputError
from wsiparse.files import remove, write_whole
from wsiparse.geometry import Grid, Region
from wsiparse.maps.chunks import ZSTD_LEVEL, DamagedShardError, place_chunks, write_chunks
from wsiparse.slides.levels import cut_region

_AXES = ("c", "y", "x")


def choose_chunk(block: int) -> int:
    """Side of the inner chunks of shards of side `block`: its largest divisor of 256 to 640, else the least above."""
    divisors = [side for side in range(256, block + 1) if block % side == 0]
    return max((side for side in divisors if side <= 640), default=min(divisors, default=block))


def create_array(path: Path, shape: tuple[int, ...], block: int, dtype: npt.DTypeLike) -> None:
    """Make an empty array [..., y, x] at `path`; what was there is lost."""
    leading, chunk = shape[:-2], choose_chunk(block)
    with report_unwritable(path):
        zarr.create_array(
            store=str(path),
            shape=shape,
            dtype=np.dtype(dtype),
            shards=(*leading, block, block),
            chunks=(*[1] * len(leading), chunk, chunk),
            compressors=ZstdCodec(level=ZSTD_LEVEL),
            fill_value=0,
            dimension_names=_AXES[-len(shape) :],
            overwrite=True,
        )


def create_like(path: Path, source: Path, grid: Grid) -> None:
    """Make an empty array over `grid` with the leading axes, shards and type of the array `source`.

    Its metadata are those of the source but for the shape; a slide has a dozen such, and zarr takes its time for each.
    """
    shape = *open_shards(source).leading, grid.height, grid.width
    metadata = json.loads((source / "zarr.json").read_bytes())
    remove(path)
    write_metadata(path, {**metadata, "shape": shape})


def write_metadata(path: Path, metadata: dict[str, Any]) -> None:
    """Write the zarr.json of an array or group at `path`, in one put and to the byte as zarr does."""
    with write_whole(path / "zarr.json") as partial:
        partial.write_text(json.dumps(metadata, indent=2))


def write_shard(path: Path, region: Region, layers: Iterable[npt.NDArray[Any]]) -> None:
    """Write the shard whose pixels, clipped to the array, are `region`, from all its layers [h, w] in their order.

    Each is packed as it comes, so that one alone need be in memory.
    """
    shards = open_shards(path)
    place = shard_file(path, len(shards.shape), region.y // shards.block, region.x // shards.block)
    with write_whole(place, within=path) as partial:
        write_chunks(partial, shards.cut, shards.chunk, _check_layers(shards, region, layers))


@dataclass(frozen=True)
class Shards:
    """An array that is there to be read or written, for whoever does so with many regions of it."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    block: int
    """Side of a shard."""
    chunk: int
    """Side of the chunks in it."""

    @property
    def leading(self) -> tuple[int, ...]:
        """Sizes of the axes before y and x."""
        return self.shape[:-2]

    @property
    def cut(self) -> tuple[int, ...]:
        """Number of chunks in a shard along each axis."""
        return (*self.leading, self.block // self.chunk, self.block // self.chunk)

    def read(self, region: Region) -> npt.NDArray[Any]:
        """Values [..., h, w] of a region; zeros beyond the array and where no shard was written."""
        values = np.empty((*self.leading, region.height, region.width), self.dtype)
        self.read_into(values, region)
        return values

    def read_into(self, values: npt.NDArray[Any], region: Region) -> None:
        """As `read`, into values [..., h, w] that are there: new memory costs as much as decoding does."""
        values[...] = 0
        inside = region.intersect(Region(0, 0, self.shape[-1], self.shape[-2]))
        for part in cut_region(inside, (self.block, self.block)):
            self._read_part(part, values[(..., *part.shift(-region.x, -region.y).slices)])

    def _read_part(self, part: Region, out: npt.NDArray[Any]) -> None:
        """Read pixels that lie in one shard into `out`."""
        row, column = part.y // self.block, part.x // self.block
        inside = part.shift(-column * self.block, -row * self.block)
        try:
            place_chunks(shard_file(self.path, len(self.shape), row, column), self.cut, self.chunk, inside, out)
        except (OSError, DamagedShardError) as error:
            raise DamagedError(
                f"{self.path}: damaged shard in {part} ({error}); delete the slide's folder and run again"
            ) from error


def open_shards(path: Path) -> Shards:
    """The array at `path`, as `create_array` made it; DamagedError where it is another or none.

    Its metadata are read by hand: zarr takes a millisecond and a thread of its own for them, shard by shard.
    """
    try:
        return Shards(path, *_parse_layout((path / "zarr.json").read_bytes()))
    except (OSError, LookupError, TypeError, ValueError) as error:
        trouble = f"{type(error).__name__}: {error}"
        raise DamagedError(
            f"{path}: {trouble}; expected a Zarr array of a run, delete the slide's folder and run again"
        ) from error


@lru_cache
def _parse_layout(metadata: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int, int]:
    """Shape, type, side of the shards and of their chunks."""
    said = orjson.loads(metadata)
    codec = said["codecs"][0]
    if codec["name"] != "sharding_indexed":
        raise ValueError(f"codec {codec['name']}, not sharding_indexed")
    shard, chunk = (part["configuration"]["chunk_shape"][-1] for part in (said["chunk_grid"], codec))
    return tuple(said["shape"]), np.dtype(said["data_type"]), shard, chunk


def read_pixels(path: Path, region: Region) -> npt.NDArray[Any]:
    """Values [..., h, w] of a region; zeros beyond the array and where no shard was written."""
    return open_shards(path).read(region)


def find_shards(path: Path) -> set[tuple[int, int]]:
    """Row and column of every shard of the array, from the names of its files; empty files do not count."""
    files = (file for file in (path / "c").rglob("*") if file.name.isdecimal() and file.is_file())
    # A machine that lost power may keep the name of a file whose bytes never reached the disk.
    return {(int(file.parent.name), int(file.name)) for file in files if file.stat().st_size}


def shard_file(path: Path, axes: int, row: int, column: int) -> Path:
    """Where the shard of a block lies, in an array of so many axes."""
    return path.joinpath("c", *["0"] * (axes - 2), str(row), str(column))


def remove_partials(path: Path) -> None:
    """Delete what writers that were killed left behind; call it while nobody writes."""
    with report_unwritable(path):
        for partial in [*path.rglob("*.partial")]:
            remove(partial)


@contextmanager
def report_unwritable(path: Path) -> Iterator[None]:
    """Turn the system's complaint about a full disk or a missing permission into one line."""
    try:
        yield
    except OSError as error:
        text = f"{path}: {error.strerror or error}; expected to write here, free the disk or choose another folder"
        raise OutputError(text) from error


def _check_layers(shards: Shards, region: Region, layers: Iterable[npt.NDArray[Any]]) -> Iterator[npt.NDArray[Any]]:
    shape, dtype, count = (*shards.leading, region.height, region.width), shards.dtype, math.prod(shards.leading)
    expected, n = f"expected {dtype} {shape} for {region}", 0
    for n, layer in enumerate(layers, 1):
        if n > count or layer.shape != shape[-2:] or layer.dtype != dtype:
            raise OutputError(f"{shards.path}: layer {n} is {layer.dtype} {layer.shape}, {expected}")
        yield layer
    if n < count:
        raise OutputError(f"{shards.path}: got {n} layers, {expected}")

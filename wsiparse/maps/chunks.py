"""The inner chunks of one shard's file, packed from pixels and decoded straight into place, in less time than zarr's.

The file is that of Zarr's sharding codec as `create_array` sets it up: zstd frames without gaps, then offset and length
of each chunk as little-endian uint64, then a checksum of these numbers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import imagecodecs
import numpy as np
import numpy.typing as npt

from wsiparse.geometry import Region
from wsiparse.slides.levels import cut_region

ZSTD_LEVEL = 1
_NUMBERS_BYTES = 16
_CHECKSUM_BYTES = 4
_ABSENT = np.uint64(2**64 - 1)
"""Offset and length of a chunk that was not written."""


class DamagedShardError(ValueError):
    """The file is no whole shard."""


def write_chunks(file: Path, cut: tuple[int, ...], side: int, layers: Iterable[npt.NDArray[Any]]) -> None:
    """Write the shard of layers [h, w], which may end before it does; chunks beyond them stay away.

    `cut` is the number of chunks along each axis of the shard, `side` theirs in y and x; for each place on the axes
    before these there is a layer.
    """
    numbers = np.full((*cut, 2), _ABSENT, "<u8")
    with file.open("wb") as stream:
        for layer, axes in zip(layers, np.ndindex(cut[:-2]), strict=True):
            height, width = layer.shape
            for part in cut_region(Region(0, 0, width, height), (side, side)):
                packed = imagecodecs.zstd_encode(_copy_chunk(layer[part.slices], side), ZSTD_LEVEL)
                numbers[(*axes, part.y // side, part.x // side)] = stream.tell(), len(packed)
                stream.write(packed)
        stream.write(numbers.tobytes())
        stream.write(google_crc32c.value(numbers.tobytes()).to_bytes(_CHECKSUM_BYTES, "little"))


def _copy_chunk(values: npt.NDArray[Any], side: int) -> bytes:
    """Values as a whole chunk, zeros below and to the right of them."""
    whole = values.shape == (side, side)
    return (values if whole else np.pad(values, [(0, side - size) for size in values.shape])).tobytes()


def place_chunks(file: Path, cut: tuple[int, ...], side: int, region: Region, out: npt.NDArray[Any]) -> None:
    """Decode a region, in pixels of the shard, into `out` [..., h, w]; a file that is not there leaves it as it is.

    `cut` is the number of chunks along each axis of the shard, `side` theirs in y and x. Raises DamagedShardError.
    """
    try:
        stream = file.open("rb")
    except FileNotFoundError:
        return
    with stream:
        numbers = _read_numbers(stream, cut)
        chunk = np.empty((side, side), out.dtype)
        for part in cut_region(region, (side, side)):
            inner = part.shift(-(part.x // side * side), -(part.y // side * side)).slices
            target = out[(..., *part.shift(-region.x, -region.y).slices)]
            for axes in np.ndindex(cut[:-2]):
                offset, count = numbers[(*axes, part.y // side, part.x // side)]
                if offset != _ABSENT:
                    _decode(stream, int(offset), int(count), chunk)
                    target[axes] = chunk[inner]


def _read_numbers(stream: BinaryIO, cut: tuple[int, ...]) -> npt.NDArray[np.uint64]:
    """Offset and length of each chunk [*cut, 2]."""
    size, length = os.fstat(stream.fileno()).st_size, math.prod(cut) * _NUMBERS_BYTES
    start = size - length - _CHECKSUM_BYTES
    numbers = np.frombuffer(os.pread(stream.fileno(), length, start) if start >= 0 else b"", "<u8")
    if start < 0 or numbers[1::2][numbers[::2] != _ABSENT].sum() != start:
        raise DamagedShardError(f"{size} bytes that are no whole shard")
    return numbers.reshape(*cut, 2)


def _decode(stream: BinaryIO, offset: int, count: int, chunk: npt.NDArray[Any]) -> None:
    out = chunk.reshape(-1).view(np.uint8)
    try:
        decoded = imagecodecs.zstd_decode(os.pread(stream.fileno(), count, offset), out=out.data)
    except imagecodecs.ZstdError as error:
        raise DamagedShardError(str(error)) from error
    if len(decoded) != len(out):
        raise DamagedShardError(f"a chunk of {len(decoded)} bytes, not {len(out)}")

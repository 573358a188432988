"""The fast path: tiled JPEG in TIFF and SVS, decoded by libjpeg-turbo straight from the file's bytes.

Pixels are those of OpenSlide. A tile that looks damaged is left to OpenSlide, which is strict about broken JPEG data.
"""

from __future__ import annotations

import functools
import os
import re
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np

from wsiparse.errors import SlideError
from wsiparse.geometry import Region
from wsiparse.slides.handle import Handle
from wsiparse.slides.levels import blank_pixels, cut_region
from wsiparse.slides.openslide import OpenSlideReader
from wsiparse.slides.slide import Pixels, Slide
from wsiparse.slides.tiff import TiledLevel

CACHE_BYTES = 32 << 20
"""Decoded tiles of which a reader has returned a part, kept for the neighbouring region."""

_POOL_THREADS = 4
_START_OF_SCAN = b"\xff\xda"
_END_OF_IMAGE = b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # anything but a coded 255 or a restart
_HOLE = bytes(64)  # a hole in a copied file; entropy-coded data hardly ever has it
_scratch = threading.local()


class JpegTiffReader:
    """Reads a slide whose levels are all tiled JPEG; `threads` decode a region together, by default at most 4."""

    def __init__(self, slide: Slide, levels: Sequence[TiledLevel], threads: int | None = None) -> None:
        self._slide = slide
        self._levels = levels
        self._threads = threads or min(_POOL_THREADS, os.cpu_count() or 1)
        self._file = Handle(functools.partial(_OpenFile, slide.path))
        self._strict = OpenSlideReader(slide)
        self._cache = _TileCache(CACHE_BYTES)

    @property
    def slide(self) -> Slide:
        """The slide that is read."""
        return self._slide

    @property
    def unreadable_pixels(self) -> int:
        """Pixels returned white so far because their tile could not be decoded."""
        return self._strict.unreadable_pixels

    def read_region(self, region: Region, level: int) -> Pixels:
        """RGB of a region in pixels of a level, uint8 [h, w, 3]; white outside the slide and where unreadable."""
        inside = region.intersect(self._slide.levels[level].region)
        if inside.area == 0:
            return blank_pixels(region)
        covered = inside == region
        pixels = np.empty((region.height, region.width, 3), np.uint8) if covered else blank_pixels(region)  # [H, W, 3]
        parts = [
            (part, pixels[part.shift(-region.x, -region.y).slices])
            for part in cut_region(inside, self._levels[level].tile)
        ]
        self._place_all(parts, level)
        return pixels

    def close(self) -> None:
        """Release the file and the kept tiles; the next read opens it again."""
        self._file.drop()
        self._strict.close()
        self._cache.clear()

    def _place_all(self, parts: Sequence[tuple[Region, Pixels]], level: int) -> None:
        shares = [parts[start :: self._threads] for start in range(min(self._threads, len(parts)))]
        others = [_pool(os.getpid()).submit(self._place_tiles, share, level) for share in shares[1:]]
        self._place_tiles(shares[0], level)
        for other in others:
            other.result()

    def _place_tiles(self, parts: Sequence[tuple[Region, Pixels]], level: int) -> None:
        """Write parts of stored tiles to their places in the output."""
        width, height = self._levels[level].tile
        file = self._file.get()
        for part, place in parts:
            tile = self._find_tile(file, part, level)
            if tile is None:
                place[...] = self._strict.read_region(part, level)
            else:
                x, y = part.x % width, part.y % height
                place[...] = tile[y : y + part.height, x : x + part.width]

    def _find_tile(self, file: _OpenFile, part: Region, level: int) -> Pixels | None:
        """The stored tile around a part, uint8 [tile, tile, 3]; None where it is damaged.

        A tile that is returned whole is not kept, and may be overwritten by the next one of this thread.
        """
        stored = self._levels[level]
        index = stored.index_at(part)
        if (part.width, part.height) == stored.tile:
            return _decode_tile(file, stored, index, _thread_buffer(stored))
        tile = self._cache.get((level, index))
        if tile is None:
            tile = _decode_tile(file, stored, index, _new_buffer(stored))
            self._cache.put((level, index), tile)
        return tile


class _OpenFile:
    """A file descriptor that is closed when the last thread lets go of it."""

    def __init__(self, path: str) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise SlideError(f"{path}: cannot be opened again ({error.strerror}); was it moved?") from error
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, offset: int, count: int) -> bytes:
        """Bytes of the file; fewer where it ends, none where the disk fails."""
        try:
            return os.pread(self._descriptor, count, offset)
        except OSError:
            return b""


class _TileCache:
    """The decoded tiles used last, within a number of bytes."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._tiles: OrderedDict[tuple[int, int], Pixels] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[int, int]) -> Pixels | None:
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
            return self._tiles.get(key)

    def put(self, key: tuple[int, int], tile: Pixels | None) -> None:
        with self._lock:
            if tile is None or key in self._tiles:
                return
            self._tiles[key] = tile
            self._bytes += tile.nbytes
            while self._bytes > self._limit_bytes:
                self._bytes -= self._tiles.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        with self._lock:
            self._tiles.clear()
            self._bytes = 0


def _decode_tile(file: _OpenFile, stored: TiledLevel, index: int, out: Pixels) -> Pixels | None:
    """`out` with one stored tile decoded into it, uint8 [tile, tile, 3]; None where the tile is damaged."""
    data = file.read(int(stored.offsets[index]), int(stored.counts[index]))
    if not _looks_sound(data):
        return None
    try:
        imagecodecs.jpeg8_decode(data, tables=stored.tables, colorspace=stored.colorspace, outcolorspace="RGB", out=out)
    except (imagecodecs.Jpeg8Error, ValueError):
        return None
    return out


def _looks_sound(data: bytes) -> bool:
    """Whether a JPEG stream ends as it should and has no marker or hole where only coded pixels may be.

    The decoder passes over such damage in silence and paints it grey; it costs some microseconds to find first.
    """
    scan = data.find(_START_OF_SCAN) + len(_START_OF_SCAN)
    if not data.endswith(_END_OF_IMAGE) or data.find(_HOLE, scan) >= 0:
        return False
    marker = _MARKER.search(data, scan)
    return marker is not None and marker.end() == len(data)


def _thread_buffer(stored: TiledLevel) -> Pixels:
    """This thread's buffer for one decoded tile, uint8 [tile, tile, 3]."""
    buffer: Pixels | None = getattr(_scratch, "tile", None)
    if buffer is None or buffer.shape[:2] != stored.tile[::-1]:
        buffer = _scratch.tile = _new_buffer(stored)
    return buffer


def _new_buffer(stored: TiledLevel) -> Pixels:
    """Room for one decoded tile, uint8 [tile, tile, 3], that does not start at a multiple of 32 bytes.

    libjpeg-turbo writes rows that do start there past the processor's cache, from which they are about to be copied:
    a third slower.
    """
    width, height = stored.tile
    room = np.empty(height * width * 3 + 32, np.uint8)
    start = (16 - room.ctypes.data) % 32
    return room[start : start + height * width * 3].reshape(height, width, 3)


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    # A fork inherits the pool but not its threads, so each process makes its own.
    return ThreadPoolExecutor(_POOL_THREADS, f"jpeg-tiles-{process}")

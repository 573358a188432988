"""The fast path: tiled JPEG in TIFF and SVS, decoded by libjpeg-turbo straight from the file's bytes.

Pixels are those of OpenSlide. A tile that looks damaged is left to OpenSlide, which is strict about broken JPEG data.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import imagecodecs
import numpy as np

from wsiparse.geometry import Region
from wsiparse.slides.handle import Handle, OpenFile
from wsiparse.slides.jpeg import looks_sound
from wsiparse.slides.levels import blank_pixels, cut_region
from wsiparse.slides.openslide import OpenSlideReader
from wsiparse.slides.slide import Pixels, Slide
from wsiparse.slides.tiff import JpegLevel
from wsiparse.slides.tile_cache import TileCache

_POOL_THREADS = 4
_scratch = threading.local()


class JpegTiffReader:
    """Reads a slide whose levels are all tiled JPEG; `threads` decode a region together, by default at most 4."""

    def __init__(self, slide: Slide, levels: Sequence[JpegLevel], threads: int | None = None) -> None:
        self._slide = slide
        self._levels = levels
        self._threads = threads or min(_POOL_THREADS, os.cpu_count() or 1)
        self._file = Handle(functools.partial(OpenFile, slide.path))
        self._strict = OpenSlideReader(slide)
        self._cache = TileCache()

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

    def _find_tile(self, file: OpenFile, part: Region, level: int) -> Pixels | None:
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


def _decode_tile(file: OpenFile, stored: JpegLevel, index: int, out: Pixels) -> Pixels | None:
    """`out` with one stored tile decoded into it, uint8 [tile, tile, 3]; None where the tile is damaged."""
    data = file.read(int(stored.offsets[index]), int(stored.counts[index]))
    if not looks_sound(data):
        return None
    try:
        imagecodecs.jpeg8_decode(data, tables=stored.tables, colorspace=stored.colorspace, outcolorspace="RGB", out=out)
    except (imagecodecs.Jpeg8Error, ValueError):
        return None
    return out


def _thread_buffer(stored: JpegLevel) -> Pixels:
    """This thread's buffer for one decoded tile, uint8 [tile, tile, 3]."""
    buffer: Pixels | None = getattr(_scratch, "tile", None)
    if buffer is None or buffer.shape[:2] != stored.tile[::-1]:
        buffer = _scratch.tile = _new_buffer(stored)
    return buffer


def _new_buffer(stored: JpegLevel) -> Pixels:
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

"""Pixels of TIFF levels as they are stored, where OpenSlide would interpolate them.

OpenSlide takes a level's downsample as the mean of both ratios of its sizes. Where a side was not exactly halved that
is no integer, and all tiles but the first are shown a fraction of a pixel aside.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from wsiparse.geometry import Region
from wsiparse.slides.handle import Handle, OpenFile
from wsiparse.slides.jpeg import looks_sound
from wsiparse.slides.slide import Pixels
from wsiparse.slides.tiff import PlainLevel
from wsiparse.slides.tile_cache import TileCache

_OPAQUE = 255


class StoredTiles:
    """Decodes the tiles of those levels of a file that are given; safe to use from several threads."""

    def __init__(self, path: str, levels: Sequence[PlainLevel | None]) -> None:
        self._levels = levels
        self._file = Handle(functools.partial(OpenFile, path))
        self._cache = TileCache()

    def paint(self, part: Region, level: int, out: Pixels) -> bool:
        """Write a part of one tile, in pixels of a level, into `out`, uint8 [h, w, 3]; False where that is OpenSlide's.

        It is for levels that are not given, damaged tiles, and those with transparent pixels.
        """
        stored = self._levels[level]
        tile = self._find_tile(stored, part, level) if stored else None
        if stored is None or tile is None:
            return False
        x, y = part.x % stored.tile[0], part.y % stored.tile[1]
        cut = tile[y : y + part.height, x : x + part.width]
        if cut.shape[2] == 4 and cut[..., 3].min() < _OPAQUE:
            return False
        out[...] = cut[..., :3]
        return True

    def close(self) -> None:
        """Release the file and the kept tiles; the next read opens it again."""
        self._file.drop()
        self._cache.clear()

    def _find_tile(self, stored: PlainLevel, part: Region, level: int) -> Pixels | None:
        index = stored.index_at(part)
        tile = self._cache.get((level, index))
        if tile is None:
            tile = self._decode_tile(stored, index)
            self._cache.put((level, index), tile)
        return tile

    def _decode_tile(self, stored: PlainLevel, index: int) -> Pixels | None:
        data = self._file.get().read(int(stored.offsets[index]), int(stored.counts[index]))
        return None if stored.is_jpeg and not looks_sound(data) else stored.decode(data, index)

"""Decoded tiles that the neighbouring region is likely to need."""

from __future__ import annotations

import threading
from collections import OrderedDict

from wsiparse.slides.slide import Pixels

CACHE_BYTES = 32 << 20
"""Decoded tiles of which a reader has returned a part, kept for the neighbouring region."""


class TileCache:
    """The decoded tiles used last, within a number of bytes."""

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._tiles: OrderedDict[tuple[int, int], Pixels] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[int, int]) -> Pixels | None:
        """The tile of a level and an index, where it is kept."""
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
            return self._tiles.get(key)

    def put(self, key: tuple[int, int], tile: Pixels | None) -> None:
        """Keep a tile, uint8 [h, w, c], in the place of those used longest ago; None is not kept."""
        with self._lock:
            if tile is None or key in self._tiles:
                return
            self._tiles[key] = tile
            self._bytes += tile.nbytes
            while self._bytes > self._limit_bytes:
                self._bytes -= self._tiles.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Forget all tiles."""
        with self._lock:
            self._tiles.clear()
            self._bytes = 0

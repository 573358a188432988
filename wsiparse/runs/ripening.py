"""Which squares of a slide may be derived while other blocks of it are still to come."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from wsiparse.maps.canvas import written_blocks
from wsiparse.runs.judge import Judgement
from wsiparse.runs.squares import SquareWork, cut_squares
from wsiparse.runs.work import BlockWork, PassWork, SlideWork

_Key = tuple[str, int, int]
"""A canvas's path, and row and column of a square in it."""


class Ripening:
    """The squares of a slide that wait for their blocks, and for those around them that have a say in their labels.

    `judgement` must say what the slide's own will say of labels; see `foresee_judgement`.
    """

    def __init__(self, work: SlideWork, judgement: Judgement) -> None:
        self._squares: dict[_Key, SquareWork] = {}
        self._reaches: dict[str, int] = {}
        for square in cut_squares(work, judgement):
            path = square.canvas.path
            self._squares[path, *square.place] = square
            if path not in self._reaches:  # the same for all squares of a canvas, of which there are thousands
                halo = max(labels.halo for labels in square.labels)
                self._reaches[path] = math.ceil(halo / square.canvas.tiling.block)
        self._missing = Counter(key for part in work.passes for key in self._list_missing(part))

    def start(self) -> list[SquareWork]:
        """The squares that wait for nothing, as where a run is continued."""
        return self._release(list(self._squares))

    def add(self, block: BlockWork) -> list[SquareWork]:
        """The squares that waited for this block alone, which is stored now."""
        keys = self._find_dependents(block.canvas.path, block.block.row, block.block.column)
        self._missing.subtract(keys)
        return self._release(keys)

    def _list_missing(self, part: PassWork) -> Iterator[_Key]:
        """The squares that wait for each block of a canvas that is not stored."""
        stored = written_blocks(part.canvas)
        for block in part.plan.blocks:
            if (block.row, block.column) not in stored:
                yield from self._find_dependents(part.canvas.path, block.row, block.column)

    def _find_dependents(self, path: str, row: int, column: int) -> list[_Key]:
        reach = self._reaches[path]
        rows, columns = (range((n - reach) // 2, (n + reach) // 2 + 1) for n in (row, column))
        keys: list[_Key] = [(path, y, x) for y in rows for x in columns]
        return [key for key in keys if key in self._squares]

    def _release(self, keys: list[_Key]) -> list[SquareWork]:
        """Of some squares those that miss nothing and are not done yet; they are not given again."""
        squares = [self._squares.pop(key) for key in keys if not self._missing[key]]
        return [square for square in squares if not square.mark.exists()]

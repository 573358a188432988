"""The squares of a slide that are left to hand out, in whatever order they can be derived."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from wsiparse.runs.judge import Judgement, foresee_judgement
from wsiparse.runs.ripening import Ripening
from wsiparse.runs.squares import SquareWork, list_squares
from wsiparse.runs.work import BlockWork, SlideWork


class SquareQueue:
    """Hands out squares as their blocks are stored, or all once the slide is judged where labels hang on that."""

    def __init__(self, work: SlideWork) -> None:
        foreseen = foresee_judgement(work)
        self._work = work
        self._ripening = Ripening(work, foreseen) if foreseen else None
        self._ripe = deque(self._ripening.start() if self._ripening else ())
        self._judged: Iterator[SquareWork] = iter(())
        self.open = bool(self._ripe)
        """Whether there may be one to take."""

    def add(self, block: BlockWork) -> None:
        """A block is stored."""
        if self._ripening:
            self._ripe.extend(self._ripening.add(block))
            self.open = self.open or bool(self._ripe)

    def judge(self, judgement: Judgement) -> None:
        """All blocks are stored, and the slide is judged."""
        self.open = True
        if not self._ripening:
            self._judged = list_squares(self._work, judgement)

    def take(self) -> SquareWork | None:
        """The next square; None, and not open, where there is none for now."""
        square = self._ripe.popleft() if self._ripe else next(self._judged, None)
        self.open = square is not None
        return square

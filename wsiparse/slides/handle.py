"""Open files that live as long as somebody reads from them, one per process."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

from wsiparse.errors import SlideError

H = TypeVar("H")


class Handle(Generic[H]):
    """A file opened at first use, again in each forked process, and closed when its last reader lets go.

    Closing only forgets the file: a thread that is still reading keeps it alive, so no thread reads from a closed one.
    """

    def __init__(self, open_file: Callable[[], H]) -> None:
        self._open_file = open_file
        self._lock = threading.Lock()
        self._held: tuple[int, H] | None = None
        self._abandoned: list[tuple[int, H]] = []

    def get(self) -> H:
        """The open file of this process; raises whatever the opener raises."""
        with self._lock:
            self._leave_to_parent()
            if self._held is None:
                self._held = (os.getpid(), self._open_file())
            return self._held[1]

    def drop(self, file: H | None = None) -> None:
        """Forget the open file, or only this one where another thread may have replaced it already."""
        with self._lock:
            self._leave_to_parent()
            if self._held and (file is None or self._held[1] is file):
                self._held = None

    def _leave_to_parent(self) -> None:
        # After a fork the file position and the library's locks are the parent's too: neither use nor free the handle.
        if self._held and self._held[0] != os.getpid():
            self._abandoned.append(self._held)
            self._held = None


class OpenFile:
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


class Count:
    """A number that several threads add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value = 0

    @property
    def value(self) -> int:
        """The sum so far."""
        return self._value

    def add(self, number: int) -> None:
        """Add to it."""
        with self._lock:
            self._value += number

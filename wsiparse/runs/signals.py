"""Who hears Ctrl-C where a process starts others: it alone, and not before they stand."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def leave_signals_to_parent() -> Iterator[None]:
    """Start processes that no Ctrl-C reaches: a terminal sends it to all, and whoever started them ends them.

    Threads that are started in the block, and processes that these start later, do not hear it either. What comes to
    this process meanwhile is heard when the block has ended, so that it finds them whole.
    """
    resource_tracker.ensure_running()  # begun later, it would let Ctrl-C through to what is started after it
    with _hold_signals():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _hold_signals() -> Iterator[None]:
    """Handle the signals that come within the block when it has ended; those that end the process at once still do."""
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)

    here = threading.current_thread() is threading.main_thread()  # no other may say how signals are handled
    handled = [number for number in STOPPING if here and callable(signal.getsignal(number))]
    before = [signal.signal(number, hold) for number in handled]
    try:
        yield
    finally:
        for number, handler in zip(handled, before, strict=True):
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])

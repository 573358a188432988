"""What is done beside a block of code, again and again, by a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeat_beside(act: Callable[[], None], seconds: float, leave: float) -> Iterator[None]:
    """Do something every so many seconds while the block lasts; what it is at then is waited for, `leave` seconds."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(seconds):
            act()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(leave)

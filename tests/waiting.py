"""Waiting for what another process does, and looking at what it wrote so far."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def wait_for(condition: Callable[[], object], seconds: float = 60, pause: float = 0.01) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(pause)


def find_blocks(folder: Path) -> list[Path]:
    """Files of the blocks stored below a folder; os.walk passes over folders that go while it walks, rglob raises."""
    walk = ((Path(parent), names) for parent, _, names in os.walk(folder))
    shards = ((parent, names) for parent, names in walk if parent.parts[-4:-1] == ("0", "c", "0"))
    return [parent / name for parent, names in shards for name in names if name.isdecimal()]

"""The lock of a run folder: one run, or one run a shard, writes there at a time.

The lock is a file that a thread touches while its run lives. A run that dies leaves a file nobody touches: on the same
machine its process is seen to be gone and the lock is free at once, from another machine after a minute without a
touch, told by the clock of the file system that both share. Nothing has to be cleaned up by hand.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import orjson

from wsiparse.errors import OutputError
from wsiparse.files import name_first
from wsiparse.runs.holder import Holder, introduce, overlap

FOLDER = ".lock"
TOUCH_SECONDS = 10.0
"""Time between two touches of a lock that is held."""
STALE_SECONDS = 60.0
"""Without a touch for so long, the holder is dead or cut off."""


@contextmanager
def hold_lock(output: Path, shard: tuple[int, int] | None = None) -> Iterator[None]:
    """Hold the folder of a run, or one shard (i, n) of it, for the length of the block.

    Shards of one count exclude none of each other; everything else does. Raises RunError that names the holder where
    the lock is taken; waits up to a minute for a holder on another machine that gives no sign of life.
    """
    folder, holder = output / FOLDER, introduce(shard)
    mine = folder / holder.scope
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _take(mine, holder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot write a lock: {error.strerror}; choose another output folder") from error
    stop = threading.Event()
    threading.Thread(target=_touch_until, args=(mine, stop), daemon=True, name="lock").start()
    try:
        yield
    finally:
        stop.set()
        _release(mine, holder)


def read_holder(output: Path) -> Holder | None:
    """Who holds the folder of a run now, as far as can be told from here without waiting; None where nobody does."""
    for path in _locks(output / FOLDER):
        holder = _read(path)
        if holder and not holder.is_dead and _seconds_untouched(path) < STALE_SECONDS:
            return holder
    return None


def _take(mine: Path, holder: Holder) -> None:
    """Make the lock's file, whole at once, then make sure that no other scope is held; else take it back."""
    _clear_path(mine)
    _link(mine, holder)
    for path in _locks(mine.parent):
        if path != mine and overlap(path.name, holder.scope) and (other := _wait_for_sign(path)):
            _release(mine, holder)
            raise other.refuse(mine.parent.parent)


def _clear_path(mine: Path) -> None:
    holder = _wait_for_sign(mine)
    if holder:
        raise holder.refuse(mine.parent.parent)


def _link(mine: Path, holder: Holder) -> None:
    partial = mine.with_name(f".{holder.token}")
    partial.write_bytes(orjson.dumps(asdict(holder)))
    try:
        name_first(partial, mine)
    except FileExistsError as error:
        winner = _read(mine) or holder
        raise winner.refuse(mine.parent.parent) from error
    finally:
        partial.unlink(missing_ok=True)


def _wait_for_sign(path: Path) -> Holder | None:
    """The holder of a lock once it has shown that it lives; None when it is free, the dead one's file removed."""
    first, holder = _touched(path), _read(path)
    end = time.monotonic() + STALE_SECONDS
    while holder and not holder.is_dead and _seconds_untouched(path) < STALE_SECONDS and time.monotonic() < end:
        if holder.lives_here or _touched(path) != first:
            return holder
        time.sleep(min(1.0, STALE_SECONDS / 20))
        holder = _read(path)
    if holder or first:  # a file without a holder is a dead run's too
        _remove_dead(path, holder)
    return None


def _remove_dead(path: Path, dead: Holder | None) -> None:
    """Remove a dead run's lock; a living one that took its place in the meantime is put back."""
    aside = path.with_name(f".{uuid.uuid4().hex}")
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return
    found = _read(aside)
    if found and found != dead:
        name_first(aside, path)
    aside.unlink(missing_ok=True)


def _locks(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))


def _read(path: Path) -> Holder | None:
    """The holder by its file; None where there is no file, or one that a power loss left empty or half written."""
    try:
        return Holder(**orjson.loads(path.read_bytes()))
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None


def _touched(path: Path) -> float:
    try:
        with path.open("rb") as file:  # opening asks a network file system anew, where stat may answer from memory
            return os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return 0.0


def _seconds_untouched(path: Path) -> float:
    return _now(path.parent) - _touched(path)


def _now(folder: Path) -> float:
    """The time by the clock of the file system; by this machine's where the folder may only be read."""
    clock = folder / f".{uuid.uuid4().hex}"
    try:
        clock.touch()
    except OSError:
        return time.time()
    now = clock.stat().st_mtime
    clock.unlink()
    return now


def _touch_until(path: Path, stop: threading.Event) -> None:
    while not stop.wait(TOUCH_SECONDS):
        try:
            os.utime(path)
        except OSError:
            # The share may come back; if another run has found this one dead by then, its blocks equal ours.
            continue


def _release(mine: Path, holder: Holder) -> None:
    found = _read(mine)
    if found and found.token == holder.token:
        mine.unlink(missing_ok=True)

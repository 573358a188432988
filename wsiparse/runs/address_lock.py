"""The lock of results behind an address: an object made only where none is, and written anew while its run lives.

No clock is asked: whoever finds a lock watches it for longer than three writings, and one that does not change is a
dead run's. Nothing has to be cleaned up by hand.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import orjson

from wsiparse.errors import OutputError, WsiparseError
from wsiparse.runs.address import Address
from wsiparse.runs.holder import Holder, introduce, overlap

FOLDER = ".lock"
WRITE_SECONDS = 20.0
STALE_SECONDS = 75.0


@contextmanager
def hold_address(address: Address, shard: tuple[int, int] | None = None) -> Iterator[None]:
    """Hold an address, or one shard (i, n) of it, for the length of the block.

    Raises RunError that names the holder where it is taken, after watching one on another machine for a sign of life.
    """
    holder = introduce(shard)
    mine = f"{FOLDER}/{holder.scope}"
    _take(address, mine, holder)
    stop = threading.Event()
    thread = threading.Thread(target=_write_until, args=(address, mine, holder, stop), daemon=True, name="lock")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        _release(address, mine, holder)


def _take(address: Address, mine: str, holder: Holder) -> None:
    try:
        if not address.create(mine, _spell(holder, 0)):
            _wait_out(address, mine)
            address.create(mine, _spell(holder, 0))
    except FileNotFoundError as error:
        raise OutputError(f"{address.url}: no such place; make the bucket or folder first") from error
    winner = _read(address, mine)
    if winner and winner.token != holder.token:
        raise winner.refuse(address.url)
    for name in address.list(FOLDER):
        if f"{FOLDER}/{name}" != mine and overlap(name, holder.scope):
            _wait_out(address, f"{FOLDER}/{name}", holder)


def _wait_out(address: Address, path: str, beside: Holder | None = None) -> None:
    """Remove a dead run's lock; RunError where its holder lives, and then what `beside` holds is given back."""
    content, end = _load(address, path), time.monotonic() + STALE_SECONDS
    while content and not (holder := _parse(content)).is_dead and time.monotonic() < end:
        now = _load(address, path)
        if holder.lives_here or (now and now != content):
            if beside:
                _release(address, f"{FOLDER}/{beside.scope}", beside)
            raise holder.refuse(address.url)
        content = now
        time.sleep(STALE_SECONDS / 50)
    if content:
        address.remove([path])


def _write_until(address: Address, path: str, holder: Holder, stop: threading.Event) -> None:
    beat = 0
    while not stop.wait(WRITE_SECONDS):
        beat += 1
        try:
            address.write(path, _spell(holder, beat))
        except (OSError, WsiparseError):
            # The store may come back; if another run has found this one dead by then, its slides equal ours.
            continue


def _release(address: Address, path: str, holder: Holder) -> None:
    found = _read(address, path)
    if found and found.token == holder.token:
        address.remove([path])


def _spell(holder: Holder, beat: int) -> bytes:
    return orjson.dumps({**asdict(holder), "beat": beat})


def _read(address: Address, path: str) -> Holder | None:
    content = _load(address, path)
    return _parse(content) if content else None


def _load(address: Address, path: str) -> bytes | None:
    return address.read([path]).get(path)


def _parse(content: bytes) -> Holder:
    return Holder(**{name: value for name, value in orjson.loads(content).items() if name != "beat"})

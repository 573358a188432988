"""Two runs into one address: the second is refused; a dead run's lock is nobody's, wherever it died."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import replace

import pytest

from tests.runs.shards import SHARDS
from wsiparse.errors import RunError
from wsiparse.runs import address_lock
from wsiparse.runs.address import Address, open_address
from wsiparse.runs.address_lock import hold_address
from wsiparse.runs.holder import Holder, introduce

LOCK = ".lock/all"


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Address:
    monkeypatch.setattr(address_lock, "WRITE_SECONDS", 0.05)
    monkeypatch.setattr(address_lock, "STALE_SECONDS", 0.5)
    return open_address(f"memory://{uuid.uuid4().hex}/night")


def leave(address: Address, **changes: object) -> Holder:
    """A lock as a run elsewhere leaves it."""
    holder = replace(introduce(None), **changes)  # type: ignore[arg-type]
    assert address.create(LOCK, address_lock._spell(holder, 7))
    return holder


def test_the_second_is_told_who_holds_it_and_the_third_finds_it_free(address: Address) -> None:
    with hold_address(address), pytest.raises(RunError, match=f"process {os.getpid()}"), hold_address(address):
        pass
    assert address.list(".lock") == []
    with hold_address(address):
        pass


def test_a_process_that_is_seen_to_be_gone_holds_nothing(address: Address) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    leave(address, pid=gone.pid)
    start = time.monotonic()
    with hold_address(address):
        assert time.monotonic() - start < 0.3


def test_another_machine_is_believed_while_it_writes(address: Address) -> None:
    holder = leave(address, host="node17", processes="node17/1")
    stop = threading.Event()
    writing = threading.Thread(target=address_lock._write_until, args=(address, LOCK, holder, stop))
    writing.start()
    with pytest.raises(RunError, match="node17"), hold_address(address):
        pass
    stop.set()
    writing.join()
    start = time.monotonic()
    with hold_address(address):
        assert time.monotonic() - start > 0.4


def test_a_lock_is_written_anew_while_it_is_held(address: Address) -> None:
    with hold_address(address):
        first, end = address.read([LOCK]), time.monotonic() + 5
        while address.read([LOCK]) == first:
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.mark.parametrize(("first", "second", "allowed"), SHARDS)
def test_which_runs_exclude_each_other(
    address: Address, first: tuple[int, int] | None, second: tuple[int, int] | None, allowed: bool
) -> None:
    with hold_address(address, first):
        try:
            with hold_address(address, second):
                assert allowed
        except RunError:
            assert not allowed
        assert len(address.list(".lock")) == 1
    with hold_address(address, second):
        pass

"""Two runs into one folder: the second is refused; a dead run's lock is nobody's."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from tests.runs.conftest import TONE, run
from tests.runs.shards import SHARDS
from wsiparse.errors import OutputError, RunError
from wsiparse.runs import lock
from wsiparse.runs.holder import Holder, name_processes
from wsiparse.runs.lock import hold_lock, read_holder

HOLD = "import sys,time,pathlib\nfrom wsiparse.runs.lock import hold_lock\n"
HOLD += "with hold_lock(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "TOUCH_SECONDS", 0.05)
    monkeypatch.setattr(lock, "STALE_SECONDS", 0.6)


@pytest.fixture
def other_process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def unlinked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A portable disk or a share of Windows, which knows no second name of a file."""

    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), source)

    monkeypatch.setattr(os, "link", refuse)


def foreign(folder: Path, scope: str = "all") -> Holder:
    """A lock as a run on another machine leaves it."""
    with hold_lock(folder):
        holder = read_holder(folder)
    assert holder
    holder = replace(holder, host="node17", processes="node17/1", scope=scope, token="of node17")
    (folder / lock.FOLDER / scope).write_text(orjson.dumps(holder.__dict__).decode())
    return holder


def test_the_second_run_is_told_who_holds_the_folder(tmp_path: Path, other_process: subprocess.Popen[str]) -> None:
    with pytest.raises(RunError, match=rf"process {other_process.pid}, since 20"), hold_lock(tmp_path):
        pass
    holder = read_holder(tmp_path)
    assert holder is not None
    assert holder.pid == other_process.pid


def test_a_killed_run_frees_the_folder_at_once(tmp_path: Path, other_process: subprocess.Popen[str]) -> None:
    other_process.send_signal(signal.SIGKILL)
    other_process.wait()
    start = time.monotonic()
    with hold_lock(tmp_path):
        assert time.monotonic() - start < 2
    assert read_holder(tmp_path) is None


def test_a_process_id_that_is_used_again_holds_nothing(tmp_path: Path) -> None:
    with hold_lock(tmp_path):
        holder = read_holder(tmp_path)
    assert holder
    earlier = replace(holder, born=holder.born - 1000)
    (tmp_path / lock.FOLDER / "all").write_bytes(orjson.dumps(earlier.__dict__))
    with hold_lock(tmp_path):
        pass


@pytest.mark.parametrize("left", [b"", bytes(300)])
@pytest.mark.parametrize("scope", ["all", "0-of-3"])
def test_what_a_power_loss_leaves_holds_nothing(tmp_path: Path, left: bytes, scope: str) -> None:
    (tmp_path / lock.FOLDER).mkdir()
    (tmp_path / lock.FOLDER / scope).write_bytes(left)
    assert read_holder(tmp_path) is None
    with hold_lock(tmp_path):
        assert read_holder(tmp_path)
        assert [path.name for path in (tmp_path / lock.FOLDER).iterdir()] == ["all"]


@pytest.mark.usefixtures("quick")
def test_another_machine_is_believed_while_it_touches_its_lock(tmp_path: Path) -> None:
    holder = foreign(tmp_path)
    path, stop = tmp_path / lock.FOLDER / holder.scope, threading.Event()
    touching = threading.Thread(target=lock._touch_until, args=(path, stop))
    touching.start()
    with pytest.raises(RunError, match="node17"), hold_lock(tmp_path):
        pass
    stop.set()
    touching.join()
    with hold_lock(tmp_path):
        holder_now = read_holder(tmp_path)
    assert holder_now
    assert holder_now.pid == os.getpid()


@pytest.mark.usefixtures("quick")
def test_a_machine_of_the_same_name_is_another_one(tmp_path: Path) -> None:
    holder = foreign(tmp_path)
    node, _, space = name_processes().split("/")
    path, stop = tmp_path / lock.FOLDER / holder.scope, threading.Event()
    twin = replace(holder, host=node, processes=f"{node}/started otherwise/{space}", pid=2**22 + 1)
    path.write_bytes(orjson.dumps(twin.__dict__))
    touching = threading.Thread(target=lock._touch_until, args=(path, stop))
    touching.start()
    with pytest.raises(RunError, match=f"host {node}"), hold_lock(tmp_path):
        pass
    stop.set()
    touching.join()


@pytest.mark.usefixtures("quick")
def test_another_machine_that_went_silent_long_ago_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / lock.FOLDER / foreign(tmp_path).scope
    os.utime(path, (0, 0))
    start = time.monotonic()
    with hold_lock(tmp_path):
        assert time.monotonic() - start < 0.3


def test_a_lock_is_touched_while_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "TOUCH_SECONDS", 0.05)
    with hold_lock(tmp_path):
        path = tmp_path / lock.FOLDER / "all"
        os.utime(path, (0, 0))
        time.sleep(0.3)
        assert path.stat().st_mtime > 0


@pytest.mark.parametrize(("first", "second", "allowed"), SHARDS)
def test_which_runs_exclude_each_other(
    tmp_path: Path, first: tuple[int, int] | None, second: tuple[int, int] | None, allowed: bool
) -> None:
    with hold_lock(tmp_path, first):
        try:
            with hold_lock(tmp_path, second):
                assert allowed
        except RunError:
            assert not allowed
    with hold_lock(tmp_path, second):
        pass


def test_of_many_at_once_one_wins(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    ready = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    deadline = time.monotonic() + 30
    while sum(process.poll() is None for process in ready) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    alive = [process for process in ready if process.poll() is None]
    for process in alive:
        process.kill()
    output = [process.communicate() for process in ready]
    assert len(alive) == 1
    assert sum("RunError" in text for _, text in output) == 3


def test_a_folder_that_cannot_be_locked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write a lock"), hold_lock(tmp_path / "file"):
        pass


@pytest.mark.usefixtures("unlinked")
def test_a_disk_without_second_names_holds_a_lock_and_a_run(slides: Path, tmp_path: Path) -> None:
    with hold_lock(tmp_path / "held"):
        assert read_holder(tmp_path / "held")
        with pytest.raises(RunError, match="a run is writing here"), hold_lock(tmp_path / "held"):
            pass
    assert not read_holder(tmp_path / "held")
    for _ in range(2):
        assert run(slides, "-o", tmp_path / "out", *TONE) == 0
    assert not list((tmp_path / "out").glob(".run.json*"))

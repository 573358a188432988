"""Trouble other than sudden death: workers that hang or have no memory, disks that are full or may not be written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import numpy as np
import psutil
import pytest

from tests.conftest import MakeSlide
from tests.drawing import write_slides
from tests.outputs import hash_results
from tests.waiting import find_blocks, wait_for
from wsiparse.cli import main
from wsiparse.runs.run import State, open_run

SIZE = (301, 203)
TONE = ["--model", "tests.tiny:build_tone", "--no-tissue", "--block-tiles", "2"]
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")


def run(*arguments: object, cluster: str = "serial") -> int:
    return main(["run", *map(str, arguments), "--cluster", cluster])


class Start(Protocol):
    """Starts a run in a process of its own, which does not outlive the test."""

    def __call__(self, *arguments: object, **environment: str) -> subprocess.Popen[str]: ...


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(*arguments: object, **environment: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "wsiparse", "run", *map(str, arguments)]
            pipe = subprocess.PIPE
            variables = {**os.environ, **environment}
            process = subprocess.Popen(command, env=variables, stdout=pipe, stderr=pipe, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield begin


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    return write_slides(tmp_path / "slides", 2, SIZE)


@pytest.fixture
def expected(slides: Path, tmp_path: Path) -> dict[str, str]:
    assert run(slides, "-o", tmp_path / "expected", *TONE) == 0
    return hash_results(tmp_path / "expected")


@pytest.fixture
def blacks(slides: Path, make_slide: MakeSlide) -> Path:
    """The cohort with one slide more, which is black."""
    make_slide(*SIZE, pixels=np.zeros((SIZE[1], SIZE[0], 3), np.uint8), name="slides/black.svs")
    return slides


def test_a_slide_that_takes_all_memory_fails_alone(blacks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(blacks, "-o", out, *TONE, "--model", "tests.tiny:build_hungry", cluster="local") == 3
    assert open_run(out).failure("black")["reason"] == "out_of_memory"
    assert open_run(out).state("s1") is State.DONE


@pytest.mark.slow
def test_a_block_that_kills_its_workers_costs_its_slide_alone(blacks: Path, tmp_path: Path, start: Start) -> None:
    out = tmp_path / "out"
    process = start(blacks, "-o", out, *TONE, "--model", "tests.tiny:build_deadly", "--workers", "2")
    assert process.communicate(timeout=200)[0]
    assert process.returncode == 3
    failure = open_run(out).failure("black")
    assert failure["reason"] == "worker_lost"
    assert "block_tiles" in failure["message"]
    assert {open_run(out).state(name) for name in ("s0", "s1")} == {State.DONE}


@pytest.mark.slow
def test_a_worker_that_hangs_is_given_up(slides: Path, tmp_path: Path, start: Start) -> None:
    out = tmp_path / "out"
    command = [slides, "-o", out, *TONE, "--model", "tests.tiny:build_slow", "--block-tiles", "1"]
    process = start(*command, "--workers", "2", DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="12s")
    wait_for(lambda: len(find_blocks(out)) > 2, seconds=90)
    workers = [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]
    workers[0].send_signal(signal.SIGSTOP)
    try:
        process.communicate(timeout=200)
    finally:
        if workers[0].is_running():
            workers[0].send_signal(signal.SIGKILL)
    assert process.returncode == 0
    one = tmp_path / "one"
    assert run(slides, "-o", one, *TONE, "--block-tiles", "1") == 0
    assert hash_results(out) == hash_results(one)


@pytest.mark.slow
def test_a_step_that_never_ends_costs_its_worker_alone(slides: Path, tmp_path: Path, start: Start) -> None:
    out, mark = tmp_path / "out", tmp_path / "hung"
    command = [slides, "-o", out, *TONE, "--model", "tests.tiny:build_hanging", "--block-tiles", "1"]
    process = start(*command, "--workers", "2", "--task-deadline-s", "4", WSIPARSE_TEST_HANGS=str(mark))
    complaints = process.communicate(timeout=150)[1]
    assert process.returncode == 0
    assert mark.exists()
    assert "hangs: predict_block" in complaints
    one = tmp_path / "one"
    assert run(slides, "-o", one, *TONE, "--block-tiles", "1") == 0
    assert hash_results(out) == hash_results(one)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@root_only
def test_a_disk_that_fills_up_and_is_freed(
    slides: Path, small_disk: Path, expected: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    out, ballast = small_disk / "out", small_disk / "ballast"
    ballast.write_bytes(bytes(4 * 2**20 - 60_000))
    with pytest.MonkeyPatch.context() as patch:
        # Let it start although too little is free, as where others fill the disk in the meantime.
        patch.setattr("wsiparse.runs.work.free_disk", lambda path: 10**12)
        assert run(slides, "-o", out, *TONE) in {2, 3}
    shown = "".join(capfd.readouterr())
    assert "No space left" in shown
    assert "Traceback" not in shown
    ballast.unlink()
    assert run(slides, "-o", out, *TONE, "--retry-failed") == 0
    assert hash_results(out) == expected


@pytest.mark.slow
def test_a_share_that_is_lost_and_comes_back(
    slides: Path, tmp_path: Path, expected: dict[str, str], start: Start
) -> None:
    out, away = tmp_path / "out", tmp_path / "away"
    command = [slides, "-o", out, *TONE, "--cluster", "serial"]
    process = start(*command, "--model", "tests.tiny:build_slow")
    wait_for(lambda: find_blocks(out), seconds=90)
    out.rename(away)
    complaints = process.communicate(timeout=150)[1]
    assert process.returncode == 75
    assert f"wsiparse: {out}: the run's folder is gone; bring the share back" in complaints
    assert "Traceback (most recent call last)" not in complaints
    assert not out.exists()
    away.rename(out)
    assert run(*command) == 0
    assert hash_results(out) == expected


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Path]:
    """A folder mounted elsewhere, as a share is; what lies in it outlives the mount."""
    folder = tmp_path / "share"
    folder.mkdir()
    (tmp_path / "server").mkdir()
    if subprocess.run(["mount", "--bind", str(tmp_path / "server"), str(folder)], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=False)


@pytest.mark.slow
@root_only
def test_a_share_that_is_unmounted_and_mounted_again(
    slides: Path, share: Path, tmp_path: Path, expected: dict[str, str], start: Start
) -> None:
    out = share / "out"
    command = [slides, "-o", out, *TONE]
    process = start(*command, "--workers", "2", "--model", "tests.tiny:build_slow")
    wait_for(lambda: find_blocks(out), seconds=90)
    subprocess.run(["umount", "--lazy", str(share)], check=True)
    complaints = process.communicate(timeout=150)[1]
    assert process.returncode == 75
    assert f"wsiparse: {out}: the run's folder is gone; bring the share back" in complaints
    assert list(share.iterdir()) == []
    subprocess.run(["mount", "--bind", str(tmp_path / "server"), str(share)], check=True)
    assert run(*command) == 0
    assert hash_results(out) == expected


@root_only
def test_an_output_that_may_only_be_read(slides: Path, small_disk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = small_disk / "out"
    assert run(slides, "-o", out, *TONE) == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    capfd.readouterr()
    assert run(slides, "-o", out, *TONE) == 2
    assert "Read-only file system" in capfd.readouterr().err
    assert main(["status", str(out)]) == 0
    assert "2 done" in capfd.readouterr().out


def test_the_second_run_into_a_folder_is_refused(
    slides: Path, tmp_path: Path, start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    first = start(slides, "-o", out, *TONE, "--model", "tests.tiny:build_slow", "--cluster", "serial")
    wait_for(lambda: find_blocks(out), seconds=90)
    assert run(slides, "-o", out, *TONE) == 2
    assert f"process {first.pid}" in capfd.readouterr().err
    first.send_signal(signal.SIGTERM)
    assert "the same command continues" in first.communicate(timeout=60)[1]
    assert first.returncode == 130
    assert run(slides, "-o", out, *TONE) == 0

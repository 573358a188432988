"""Trouble with where a run writes: disks that are full or may not be written, shares that go, folders in use."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.outputs import hash_results
from tests.runs.conftest import TONE, Start, run
from tests.waiting import find_blocks, wait_for
from wsiparse.cli import main

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")


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
        patch.setattr("wsiparse.runs.planning.free_disk", lambda path: 10**12)
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

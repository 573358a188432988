"""Trouble with where a training writes: disks that are full, folders that are none, output that nobody takes."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.training.teaching import write_config
from tests.training.test_screening import make_table
from tests.waiting import wait_for
from wsiparse.cli import main
from wsiparse.errors import OutputError
from wsiparse.training.progress import open_log

pytestmark = pytest.mark.usefixtures("one_thread")


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Files of so many bytes at most, as on a disk that fills up."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("size", "name"), [(800, "log.jsonl"), (50_000, "checkpoint.pt"), (20_000, "tiny.safetensors")]
)
def test_a_full_disk_is_told_in_one_line_and_nothing_is_lost(
    tmp_path: Path, size: int, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_table(tmp_path)
    config = write_config(tmp_path, examples="examples.csv", steps=40, check_every=40)
    if name == "tiny.safetensors":
        assert main(["train", str(config)]) == 0  # its checkpoint is larger than the weights, and there already
        (tmp_path / "out/tiny.safetensors").unlink()
    capsys.readouterr()
    with room_for(size):
        assert main(["train", str(config)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"out/{name}: cannot write: " in line
    assert "large" in line
    assert not list((tmp_path / "out").glob("*.partial*"))
    assert main(["train", str(config)]) == 0
    assert (tmp_path / "out/tiny.safetensors").exists()


@pytest.mark.parametrize("number", [errno.EIO, errno.EINVAL])
def test_a_checkpoint_is_on_the_disk_before_it_takes_the_place_of_the_last(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(file: int) -> None:
        raise OSError(number, os.strerror(number))

    config = make_table(tmp_path)
    assert main(["train", str(config)]) == 0
    before = (tmp_path / "out/checkpoint.pt").read_bytes()
    write_config(tmp_path, examples="examples.csv", steps=3)
    monkeypatch.setattr(os, "fsync", fail)
    kept = number == errno.EINVAL  # as file systems answer that cannot say
    assert main(["train", str(config)]) == (0 if kept else 2)
    assert ((tmp_path / "out/checkpoint.pt").read_bytes() == before) != kept
    assert len(capsys.readouterr().err.splitlines()) == (0 if kept else 1)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), 2, "batches of 2 crops of 32 pixels; expected room for them"),
        (MemoryError(), 2, "batches of 2 crops of 32 pixels"),
        (RuntimeError("CUDA error: unspecified launch failure"), 75, "the accelerator broke down"),
    ],
)
def test_memory_that_is_full_and_an_accelerator_that_is_lost_are_told_in_one_line(
    tmp_path: Path, error: Exception, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*parts: object) -> None:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wsiparse.training.loop.take_step", fail)
        assert main(["train", str(make_table(tmp_path))]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


@pytest.mark.parametrize("out", ["train.toml", "train.toml/out"])
def test_a_folder_that_is_none_is_told_in_one_line(
    tmp_path: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_table(tmp_path)
    assert main(["train", str(write_config(tmp_path, examples="examples.csv", out=out))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("choose another output folder")


def test_weights_may_be_read_by_all_who_may_read_the_log(tmp_path: Path) -> None:
    assert main(["train", str(make_table(tmp_path))]) == 0
    modes = {(tmp_path / "out" / name).stat().st_mode for name in ("tiny.safetensors", "log.jsonl")}
    assert len(modes) == 1


def test_the_weights_are_named_at_the_end_also_where_they_were_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_table(tmp_path)
    for _ in range(2):
        assert main(["train", str(config)]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == f"written: {tmp_path / 'out/tiny.safetensors'}"


def test_what_a_killed_training_left_half_written_is_removed(tmp_path: Path) -> None:
    config, left = make_table(tmp_path), tmp_path / "out/.checkpoint.pt.0123abcd.partial"
    left.parent.mkdir()
    left.touch()
    assert main(["train", str(config)]) == 0
    assert not left.exists()


def test_a_training_goes_on_where_nobody_takes_its_lines(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "wsiparse", "train", str(make_table(tmp_path))]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads((tmp_path / "out/log.jsonl").read_text().splitlines()[-1])["step"] == 2


def test_a_batch_system_stops_a_training_as_ctrl_c_does(tmp_path: Path) -> None:
    make_table(tmp_path)
    config = write_config(tmp_path, examples="examples.csv", steps=100_000, check_every=5)
    command = [sys.executable, "-m", "wsiparse", "train", str(config)]
    training = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_for((tmp_path / "out/checkpoint.pt").exists, seconds=90)
    training.terminate()
    assert (
        training.communicate(timeout=90)[1] == b"wsiparse: stopped; the same command continues where this one ended\n"
    )
    assert training.returncode == 130
    assert not list((tmp_path / "out/.lock").iterdir())


def test_a_log_that_cannot_be_rewound_stays(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n' * 20)
    with open_log(tmp_path, 5) as log, room_for(100), pytest.raises(OutputError, match=r"log\.jsonl: cannot write"):
        log.rewind(1)
    assert len(path.read_text().splitlines()) == 20

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.training.teaching import write_config
from tests.training.test_screening import make_table


def plan(folder: Path) -> Path:
    folder.mkdir()
    make_table(folder)
    return write_config(folder, examples="examples.csv", steps=60, check_every=5, log_every=20)


def start(config: Path) -> subprocess.Popen[bytes]:
    """A training in a process of its own, as users have it: another number of threads would give other bits."""
    return subprocess.Popen([sys.executable, "-m", "wsiparse", "train", str(config)], stdout=subprocess.DEVNULL)


def train(config: Path) -> bytes:
    assert start(config).wait(timeout=300) == 0
    (weights,) = (config.parent / "out").glob("*.safetensors")
    return weights.read_bytes()


def kill_after_checkpoint(config: Path) -> None:
    process = start(config)
    deadline = time.monotonic() + 120
    while not (config.parent / "out/checkpoint.pt").exists() and process.poll() is None:
        assert time.monotonic() < deadline, "no checkpoint within two minutes"
        time.sleep(0.01)
    process.kill()
    process.wait()


def test_a_killed_training_ends_as_one_that_ran_through(tmp_path: Path) -> None:
    whole, config = train(plan(tmp_path / "whole")), plan(tmp_path / "killed")
    kill_after_checkpoint(config)
    assert not list((tmp_path / "killed/out").glob("*.safetensors"))
    assert train(config) == whole
    log = (tmp_path / "killed/out/log.jsonl").read_text().splitlines()
    assert len([line for line in log if '"loss"' in line]) == 3

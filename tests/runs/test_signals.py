"""Ctrl-C reaches the process that a person started, once what it starts stands, and nothing that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import MakeSlide
from tests.runs.conftest import TONE
from tests.waiting import find_blocks, wait_for
from wsiparse.commands.run import stop_on_signal
from wsiparse.runs.signals import leave_signals_to_parent

pytestmark = pytest.mark.usefixtures("heard")
SLEEP = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
SCRIPT = "import wsiparse\nwsiparse.run({!r}, {!r}, model='tests.tiny:build_tone', workers=2)\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_comes_while_processes_start_is_heard_when_they_stand(number: signal.Signals) -> None:
    steps = []

    def start() -> None:
        with leave_signals_to_parent():
            signal.raise_signal(number)
            os.kill(os.getpid(), number)
            steps.append("started")
        steps.append("went on")

    with stop_on_signal(), pytest.raises(KeyboardInterrupt):
        start()
    assert steps == ["started"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_what_is_started_hears_no_ctrl_c_but_may_be_ended() -> None:
    with leave_signals_to_parent():
        process = subprocess.Popen(SLEEP, stdout=subprocess.PIPE)
    with process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.terminate()
        assert process.wait(10) == -signal.SIGTERM


@pytest.mark.slow
def test_ctrl_c_ends_a_run_and_its_workers_in_one_line(make_slide: MakeSlide, tmp_path: Path) -> None:
    slow = [*TONE, "--model", "tests.tiny:build_slow", "--block-tiles", "1", "--workers", "2"]
    slide, out, log = make_slide(1500, 1500), tmp_path / "out", tmp_path / "log"
    command = [sys.executable, "-m", "wsiparse", "run", str(slide), "-o", str(out), *slow]
    with log.open("w") as file, subprocess.Popen(command, stderr=file, start_new_session=True) as process:
        wait_for(lambda: find_blocks(out))
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    said = [line for line in log.read_text().splitlines() if not line.startswith("{")]
    assert said == ["wsiparse: stopped; the same command continues where this one ended"]


@pytest.mark.slow
def test_a_script_without_the_guard_is_told_of_it(make_slide: MakeSlide, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.format(str(make_slide(301, 203)), str(tmp_path / "out")))
    paths = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, tmp_path / "script.py"], env=paths, capture_output=True, text=True)
    assert done.returncode == 1
    assert "put the call under `if __name__ == '__main__':`, or ask for 1 worker" in done.stderr.splitlines()[-1]
    assert done.stderr.count("Traceback") == 1

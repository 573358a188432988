"""Trouble with workers other than sudden death: those that hang, never end or have no memory."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from tests.conftest import MakeSlide
from tests.outputs import hash_results
from tests.runs.conftest import SIZE, TONE, Start, run
from tests.tiny import BREAKS
from tests.waiting import find_blocks, wait_for
from wsiparse.models.load import ModelSpec
from wsiparse.models.model import Model
from wsiparse.runs import pipeline, room
from wsiparse.runs.pipeline import name_reason
from wsiparse.runs.run import State, open_run

BREAKING = [*TONE, "--model", "tests.tiny:build_breaking"]


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


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_is_full_is_no_bug(error: Exception) -> None:
    assert name_reason(error) == "out_of_memory"


@pytest.mark.slow
def test_processes_that_together_need_more_memory_than_is_free_are_refused(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "usable_memory", lambda held: 1_000_000_000)
    assert run(slides, "-o", tmp_path / "one", *TONE, cluster="local") == 0
    assert run(slides, "-o", tmp_path / "two", *TONE, "--workers", "2", cluster="local") == 3
    failure = open_run(tmp_path / "two").failure("s0")
    assert failure["reason"] == "plan_refused"
    assert failure["message"].startswith("2 processes need 2 × 0.")


@pytest.mark.parametrize("cluster", ["serial", "local"])
def test_a_process_whose_accelerator_broke_down_ends_and_blames_no_slide(
    slides: Path, tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch, expected: dict[str, str], cluster: str
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv(BREAKS, str(tmp_path / "broken"))
    process = start(slides, "-o", out, *BREAKING, "--cluster", cluster)
    told = process.communicate(timeout=120)[1]
    assert process.returncode == 75
    assert "(CUDA error: unspecified launch failure); the same command in a new process continues" in told
    assert "Traceback" not in told
    assert not [*out.rglob("failed.json")]
    assert run(slides, "-o", out, *BREAKING, cluster=cluster) == 0
    assert hash_results(out) == expected


def test_an_accelerator_that_is_broken_as_the_model_loads_is_told_as_broken(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def load(spec: ModelSpec) -> Model:
        raise torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered")

    monkeypatch.setattr(pipeline, "load_model", load)
    assert run(slides, "-o", tmp_path / "out", *TONE, cluster="serial") == 75
    told = capfd.readouterr().err
    assert "the accelerator broke down (CUDA error: uncorrectable ECC error encountered); the same command" in told
    assert "Traceback" not in told


@pytest.mark.slow
def test_a_worker_whose_accelerator_broke_down_is_started_anew(
    slides: Path, tmp_path: Path, start: Start, expected: dict[str, str]
) -> None:
    out, mark = tmp_path / "out", tmp_path / "broken"
    process = start(slides, "-o", out, *BREAKING, "--workers", "2", WSIPARSE_TEST_BREAKS=str(mark))
    told = process.communicate(timeout=150)[1]
    assert process.returncode == 0
    assert mark.exists()
    assert "another takes its place" in told
    assert hash_results(out) == expected


@pytest.mark.slow
def test_a_block_that_kills_its_workers_costs_its_slide_alone(blacks: Path, tmp_path: Path, start: Start) -> None:
    out = tmp_path / "out"
    # So soon after its death no worker is back: Dask would give it up.
    impatient = {"DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "0.1s"}
    process = start(blacks, "-o", out, *TONE, "--model", "tests.tiny:build_deadly", "--workers", "2", **impatient)
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

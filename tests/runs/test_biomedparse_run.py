"""BiomedParse through `wsiparse run`, at reduced size."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import wsiparse
from tests.conftest import MakeSlide
from tests.models.official import REDUCED, write_official_weights
from tests.outputs import hash_results
from tests.waiting import find_blocks, wait_for
from wsiparse.cli import main
from wsiparse.models import load
from wsiparse.models.biomedparse import open_biomedparse

TARGETS = "neoplastic cells,inflammatory cells,glandular structure"
PLAN = ["--targets", TARGETS, "--no-tissue", "--block-tiles", "1", "--cluster", "serial", "--device", "cpu"]
SMALL = ["--input-side", "64"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_official_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def run(weights: Path, make_slide: MakeSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`wsiparse run … --model biomedparse --weights FILE`, which expects the reduced size."""
    monkeypatch.setattr(load, "open_biomedparse", functools.partial(open_biomedparse, sizes=REDUCED))
    slide = make_slide(100, 96)
    model = ["--model", "biomedparse", "--weights", str(weights)]
    return lambda *options: main(["run", str(slide), "-o", str(tmp_path / "out"), *model, *PLAN, *options])


def test_a_run_names_the_model_and_its_weights(run: Callable[..., int], tmp_path: Path) -> None:
    assert run(*SMALL) == 0
    results = wsiparse.open_run(tmp_path / "out")
    for name in TARGETS.split(","):
        values = np.asarray(results.probability(name))
        assert values.dtype == np.uint8
        assert len(np.unique(values)) > 1
    assert np.asarray(results.probability("neoplastic cells")).shape == (192, 200)
    assert results.run.record["model"]["name"] == "biomedparse-v1"
    assert results.run.record["config"]["input_side"] == 64
    assert {entry["target"] for entry in results.summary()["targets"]} == set(TARGETS.split(","))
    means = [entry["mean_probability"] for entry in results.summary()["targets"] if entry["objects"]]
    assert np.isfinite(means).all()


@pytest.mark.parametrize(
    "options", [[], ["--input-side", "96"], [*SMALL, "--precision", "bfloat16"], [*SMALL, "--views", "8"]]
)
def test_what_changes_the_bytes_is_another_run(
    run: Callable[..., int], options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*SMALL) == 0
    assert run(*SMALL, "--channels-last", "--batch", "2") == 0
    assert run(*options) == 2
    assert "holds a run of another model, targets, settings" in capsys.readouterr().err


def test_a_run_without_weights_says_where_they_come_from(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--weights", str(tmp_path / "nowhere.pt")) == 2
    message = capsys.readouterr().err
    assert "nowhere.pt; expected biomedparse_v1.pt" in message
    assert "--weights" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize("option", [["--input-side", "64"], ["--skip-absent", "0.9"]])
def test_the_open_model_refuses_what_it_cannot_do(
    cmu_1: Path, tmp_path: Path, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(cmu_1), "-o", str(tmp_path), "--cluster", "serial", *option]) == 2
    assert "an option of biomedparse" in capsys.readouterr().err


def test_weights_for_a_model_that_brings_its_own_are_refused(
    weights: Path, cmu_1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(cmu_1), "-o", str(tmp_path), "--cluster", "serial", "--weights", str(weights)]) == 2
    assert "expected model biomedparse" in capsys.readouterr().err


def test_a_killed_run_goes_on_with_the_same_bytes(weights: Path, make_slide: MakeSlide, tmp_path: Path) -> None:
    model = ["--model", "tests.models.official:build_reduced", "--weights", str(weights), *SMALL]
    slide = str(make_slide(290, 96))
    command = [sys.executable, "-m", "wsiparse", "run", slide, *model, *PLAN, "--targets", "neoplastic cells", "-o"]
    process = subprocess.Popen([*command, str(tmp_path / "killed")], start_new_session=True)
    wait_for(lambda: find_blocks(tmp_path / "killed"), 300)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # Both in processes of their own: on a processor its last bits follow from the threads that torch has been given.
    for name in ("killed", "whole"):
        assert subprocess.run([*command, str(tmp_path / name)], check=False).returncode == 0
    assert hash_results(tmp_path / "killed") == hash_results(tmp_path / "whole")
    assert json.loads((tmp_path / "killed/drawn/summary.json").read_text())["state"] == "done"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_run_on_a_gpu_with_graphs(run: Callable[..., int]) -> None:
    assert run(*SMALL, "--device", "cuda", "--precision", "bfloat16", "--compile", "reduce-overhead") == 0

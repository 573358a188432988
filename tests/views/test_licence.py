"""Whoever uses a model is told under what licence its weights stand, on one line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeSlide
from wsiparse.cli import main
from wsiparse.models.load import ModelSpec, find_licence, list_models, load_model
from wsiparse.runs.run import open_run
from wsiparse.views.report import write_report

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project() -> dict[str, Any]:
    """What the package says of itself."""
    read: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return read


@pytest.mark.parametrize("name", list_models())
def test_the_package_states_the_licence_of_all_weights_that_it_ships(name: str, project: dict[str, Any]) -> None:
    licence = find_licence(load_model(ModelSpec(name, "cpu"))).partition(":")[0]
    assert re.sub(r"^CC BY", "CC-BY", licence).split()[0].rstrip(",;") in project["license"], licence
    assert f"{name}.safetensors" in (ROOT / "NOTICE").read_text(encoding="utf-8")
    assert "NOTICE" in project["license-files"]


def test_an_extra_brings_what_slides_behind_addresses_need(project: dict[str, Any]) -> None:
    assert {re.split("[>=]", need)[0] for need in project["optional-dependencies"]["remote"]} == {
        "fsspec[http]",
        "s3fs",
    }


@pytest.mark.parametrize("name", list_models())
def test_a_run_prints_and_keeps_the_licence_of_its_model(
    name: str, make_slide: MakeSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", str(make_slide(301, 203)), "-o", str(tmp_path / "out"), "--model", name, "--cluster", "serial"]
    assert main([*command, "--targets", "nuclei", "--no-tissue"]) == 0
    licence = find_licence(load_model(ModelSpec(name, "cpu")))
    assert f"licence of {name}: {licence}" in capsys.readouterr().out.splitlines()
    run = open_run(tmp_path / "out")
    assert run.record["model"]["licence"] == licence
    assert licence in write_report(run).read_text(encoding="utf-8")


def test_the_list_of_models_names_their_licences(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines if "licence" in line] == [
        f"licence of {name}" for name in list_models()
    ]


def test_a_model_that_names_no_licence_prints_none(
    make_slide: MakeSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", str(make_slide(301, 203)), "-o", str(tmp_path / "out"), "--cluster", "serial", "--no-tissue"]
    assert main([*command, "--model", "tests.tiny:build_tone", "--targets", "dark"]) == 0
    assert "licence" not in capsys.readouterr().out

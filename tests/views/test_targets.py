from __future__ import annotations

from pathlib import Path

import pytest

from wsiparse.cli import main
from wsiparse.ontology import load_ontology


def show(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["targets", *arguments]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_the_targets_of_the_shipped_model_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    shown = show(capsys)
    assert "glandular structure histology / histology structure gland 1.5 the model's 0.5 region" in shown


def test_an_ontology_is_shown_with_places_for_sites(capsys: pytest.CaptureFixture[str]) -> None:
    shown = show(capsys, "pathology")
    assert all(target.name in shown for target in load_ontology("pathology").targets)
    assert "in [site]" in shown
    assert "0.25 64 0.5 objects" in shown


def test_an_ontology_of_ones_own_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.toml").write_text('extends = "open-1"\n[[target]]\nname = "nuclei"\nthreshold = 0.7\n')
    assert "nuclei histology / cell nuclei 0.25 the model's 0.7 objects" in show(capsys, str(tmp_path / "own.toml"))


def test_an_unknown_ontology_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "radiology"]) == 2
    assert "expected one of open-1, pathology" in capsys.readouterr().err

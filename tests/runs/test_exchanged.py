"""A slide file that was exchanged after it was parsed: what was found is not drawn on it, nor scored against it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.runs.conftest import TONE, run
from wsiparse.cli import main


def test_results_are_not_shown_on_another_slide(
    slides: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, told = tmp_path / "out", "s0.svs: not the file that was parsed"
    assert run(slides, "-o", out, *TONE) == 0
    labels = tmp_path / "labels"
    labels.mkdir()
    for name in ("s0", "s1"):
        shutil.copy(out / name / "annotations.geojson.gz", labels / f"{name}.geojson.gz")
    shutil.copy(slides / "s1.svs", slides / "s0.svs")
    assert main(["picture", str(out), str(tmp_path / "s0.png"), "--slide", "s0"]) == 2
    assert told in capfd.readouterr().err
    assert main(["evaluate", str(out), "--reference", str(labels)]) == 3
    assert told in "".join(capfd.readouterr())
    assert main(["picture", str(out), str(tmp_path / "s1.png"), "--slide", "s1"]) == 0

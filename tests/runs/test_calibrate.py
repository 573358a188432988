"""Fits from a run and its references, used by the next run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import wsiparse
from tests.conftest import MakeSlide
from wsiparse.cli import main
from wsiparse.maps.validity import load_fits
from wsiparse.runs.results import Results
from wsiparse.slides.open import open_slide

RUN = ["--model", "tests.tiny:build_tone", "--targets", "dark", "--no-tissue", "--cluster", "serial"]


@pytest.fixture
def labelled(make_slide: MakeSlide, tmp_path: Path) -> tuple[Path, Path]:
    """A run over a drawn slide, and a folder with a mask of what is dark in it."""
    slide = make_slide(701, 503)
    out, references = tmp_path / "out", tmp_path / "references"
    assert main(["run", str(slide), "-o", str(out), *RUN]) == 0
    reader = open_slide(slide)
    green = reader.read_region(reader.slide.grid.region, 0)[..., 1]
    references.mkdir()
    Image.fromarray(((255 - green) >= 140).astype(np.uint8) * 255).save(references / "drawn__dark.png")
    return out, references


def test_fits_of_a_run_find_its_own_targets_plausible(
    labelled: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, references = labelled
    fits = tmp_path / "fits.json"
    assert main(["models", "calibrate", str(out), "-o", str(fits), "--reference", str(references)]) == 0
    count = json.loads(fits.read_text())["samples"]["Pathology"]["dark"]
    assert f"dark: fitted to {count} tiles" in capsys.readouterr().out
    assert 20 <= count < wsiparse.open_run(out).summary()["tiles"]
    slide = wsiparse.open_run(out).run.rows[0].slide
    again = ["run", slide, *RUN, "--validity", str(fits)]
    assert main([*again, "-o", str(tmp_path / "tested")]) == 0
    entry = find_dark(wsiparse.open_run(tmp_path / "tested"))
    assert entry["refused"] is False
    assert entry["refused_tiles"] < 0.5
    assert entry["p_value"] > 1e-6
    pale = load_fits(fits)["dark"]
    fits.write_text(json.dumps({"Pathology": {"dark": [[pair.b, pair.a] for pair in pale]}}))
    assert main([*again, "-o", str(tmp_path / "turned")]) == 0
    assert find_dark(wsiparse.open_run(tmp_path / "turned"))["refused"] is True


def find_dark(results: Results) -> dict[str, Any]:
    entry: dict[str, Any] = results.summary()["targets"][0]
    return entry


def test_too_few_tiles_are_refused(
    labelled: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, references = labelled
    mask = np.zeros((503, 701), np.uint8)
    mask[200:260, 300:360] = 255
    Image.fromarray(mask).save(references / "drawn__dark.png")
    command = ["models", "calibrate", str(out), "-o", str(tmp_path / "fits.json"), "--reference", str(references)]
    assert main(command) == 2
    assert "'dark': " in capsys.readouterr().err
    Image.fromarray(mask * 0).save(references / "drawn__dark.png")
    assert main(command) == 2
    assert "no tile in which a reference and a mask show the same target" in capsys.readouterr().err
    assert not (tmp_path / "fits.json").exists()


def test_a_slide_whose_maps_are_damaged_or_gone_is_left_out(
    make_slide: MakeSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slides = [str(make_slide(501, 403, name=f"s{n}.svs")) for n in range(3)]
    assert main(["run", *slides, "-o", str(tmp_path / "out"), *RUN]) == 0
    (tmp_path / "ref").mkdir()
    for n in range(3):
        Image.fromarray(np.full((403, 501), 255, np.uint8)).save(tmp_path / f"ref/s{n}__dark.png")
    shutil.rmtree(tmp_path / "out/s0/parse.zarr")
    for shard in (tmp_path / "out/s1/parse.zarr").glob("*/0/c/0/0/0"):
        shard.write_bytes(shard.read_bytes()[:60])
    fits = str(tmp_path / "fits.json")
    assert main(["models", "calibrate", str(tmp_path / "out"), "-o", fits, "--reference", str(tmp_path / "ref")]) == 3
    printed = capsys.readouterr().out
    assert f"left out: s0: {tmp_path / 'out/s0/parse.zarr'}: no maps there" in printed
    assert f"left out: s1: {tmp_path / 'out/s1/parse.zarr'}" in printed
    assert "dark: fitted to" in printed

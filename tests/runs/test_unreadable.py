"""Tiles of a slide that cannot be decoded: what they hide is told, never taken for glass."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest
import tifffile

import wsiparse
from tests.conftest import MakeSlide
from wsiparse.cli import main
from wsiparse.runs.results import Results
from wsiparse.runs.run import State

MODEL = ["--model", "tests.tiny:build_tone", "--cluster", "serial"]


def blank_tiles(path: Path, level: int, tiles: slice) -> None:
    """Overwrite stored tiles of a level with zeros, as a copy with holes has them."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[level]
        places = list(zip(page.dataoffsets, page.databytecounts, strict=True))[tiles]
    with path.open("r+b") as stored:
        for offset, count in places:
            stored.seek(offset)
            stored.write(bytes(count))


def run(slide: Path, out: Path, *options: str) -> int:
    return main(["run", str(slide), "-o", str(out), *MODEL, *options])


def measure_areas(results: Results) -> Sequence[float]:
    return [target["area_um2"] for target in results.summary()["targets"]]


def test_tissue_that_the_thumbnail_lost_is_parsed_all_the_same(make_slide: MakeSlide, tmp_path: Path) -> None:
    slide = make_slide(2401, 1203)
    assert run(slide, tmp_path / "whole", "--no-tissue") == 0
    blank_tiles(slide, 1, slice(None))
    assert run(slide, tmp_path / "out") == 0
    results, whole = wsiparse.open_run(tmp_path / "out"), wsiparse.open_run(tmp_path / "whole")
    assert measure_areas(results) == measure_areas(whole)
    assert results.summary()["unreadable_pixels"] == 0


@pytest.mark.parametrize(("lost", "code", "state"), [(slice(None), 2, State.FAILED), (slice(4), 0, State.DONE)])
def test_a_slide_of_which_nothing_can_be_seen_fails(
    make_slide: MakeSlide, tmp_path: Path, lost: slice, code: int, state: State
) -> None:
    slide = make_slide(1201, 803)
    blank_tiles(slide, 0, lost)
    assert run(slide, tmp_path / "out", "--no-tissue") == code
    results = wsiparse.open_run(tmp_path / "out")
    assert results.run.state("drawn") is state
    with (tmp_path / "out/summary.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    if state is State.DONE:
        assert int(row["unreadable_pixels"]) > 0
    else:
        assert row["reason"] == "pixels_unreadable"
        assert "copy the slide again" in results.run.failure("drawn")["message"]

"""The spine on real and drawn slides, with a model whose every answer is known."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest

import wsiparse
from tests.conftest import MakeSlide
from tests.waiting import find_blocks, wait_for
from wsiparse.maps.canvas import open_canvas, read_region
from wsiparse.runs.results import Results
from wsiparse.runs.run import State
from wsiparse.slides.open import open_slide

TONE: dict[str, Any] = {"model": "tests.tiny:build_tone", "tissue": False}
TIMED = {"run.json", "summary.json"}  # they carry seconds and hosts; all else must not change by a byte


def hash_files(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in TIMED)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_map(results: Results, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(results.probability(name))


def test_a_real_slide_gives_the_maps_its_pixels_imply(cmu_1: Path, tmp_path: Path) -> None:
    results = wsiparse.run(cmu_1, tmp_path / "out", cluster="serial", block_tiles=8, **TONE)
    reader = open_slide(cmu_1)
    pixels = reader.read_region(reader.slide.grid.region, 0)
    np.testing.assert_array_equal(read_map(results, "light"), pixels[..., 1])
    assert results.run.state("CMU-1-Small-Region") is State.DONE
    summary = results.summary()
    assert summary["mpp"] == pytest.approx(0.499)
    assert summary["mpp_source"] == "openslide.mpp"
    frame = results.annotations()
    assert isinstance(frame, geopandas.GeoDataFrame)
    dark = frame[frame["target"] == "dark"]
    pixels_dark = int((255 - pixels[..., 1] >= 153).sum())
    assert dark["area_um2"].sum() == pytest.approx(pixels_dark * reader.slide.grid.pixel_area_um2, rel=1e-6)


def test_a_run_does_without_pandas(make_slide: MakeSlide, tmp_path: Path) -> None:
    code = (
        "import sys, wsiparse; wsiparse.run(sys.argv[1], sys.argv[2], cluster='serial', model='tests.tiny:build_tone', "
        "tissue=False); print([name for name in ('pandas', 'scipy.stats') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(make_slide(300, 200)), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert len(geopandas.read_parquet(next(tmp_path.glob("out/*/annotations.parquet")))) > 0


def test_geojson_and_parquet_tell_the_same(cmu_1: Path, tmp_path: Path) -> None:
    results = wsiparse.run(cmu_1, tmp_path / "out", cluster="serial", **TONE)
    with gzip.open(tmp_path / "out/CMU-1-Small-Region/annotations.geojson.gz") as file:
        features = json.load(file)["features"]
    frame = results.annotations()
    assert len(features) == len(frame)
    assert sum(entry["objects"] for entry in results.summary()["targets"]) == len(frame)


@pytest.mark.parametrize("settings", [{"cluster": "local"}, {"cluster": "local", "workers": 2}])
def test_any_cluster_writes_the_same_bytes_as_serial(
    make_slide: MakeSlide, tmp_path: Path, settings: dict[str, Any]
) -> None:
    slides = [make_slide(701, 503, name="a.svs"), make_slide(411, 613, name="b.svs")]
    serial = wsiparse.run(slides, tmp_path / "serial", cluster="serial", block_tiles=2, **TONE)
    other = wsiparse.run(slides, tmp_path / "other", block_tiles=2, **TONE, **settings)
    assert {serial.run.state(name) for name in serial.slides} == {State.DONE}
    assert hash_files(tmp_path / "other") == hash_files(tmp_path / "serial")
    assert other.slides == serial.slides


def test_block_size_changes_no_pixel_and_no_outline(make_slide: MakeSlide, tmp_path: Path) -> None:
    slide = make_slide(701, 503)
    runs = [
        wsiparse.run(slide, tmp_path / str(side), cluster="serial", block_tiles=side, **TONE) for side in (1, 3, 16)
    ]
    for name in ("dark", "light", "red"):
        maps = [read_map(run, name) for run in runs]
        np.testing.assert_array_equal(maps[0], maps[1])
        np.testing.assert_array_equal(maps[0], maps[2])
    files = [(tmp_path / str(side) / "drawn/annotations.geojson.gz").read_bytes() for side in (1, 3, 16)]
    assert files[0] == files[1] == files[2]


def test_blank_slides_are_empty_not_failed(make_slide: MakeSlide, tmp_path: Path) -> None:
    white = make_slide(600, 400, pixels=np.full((400, 600, 3), 244, np.uint8))
    results = wsiparse.run(white, tmp_path / "out", model="tests.tiny:build_tone", cluster="serial")
    assert results.run.state("drawn") is State.EMPTY


COMMAND = [
    sys.executable,
    "-m",
    "wsiparse",
    "run",
    "--model",
    "tests.tiny:build_slow",
    "--no-tissue",
    "--block-tiles",
    "2",
]


@pytest.mark.parametrize("cluster", ["serial", "local"])
def test_a_killed_run_goes_on_at_the_block_with_the_same_bytes(
    make_slide: MakeSlide, tmp_path: Path, cluster: str
) -> None:
    slide = make_slide(701, 503)
    command = [*COMMAND, "--cluster", cluster, str(slide), "-o"]
    kill_after_blocks(command, tmp_path / "killed", 5)
    before = {path: path.stat().st_mtime_ns for path in find_blocks(tmp_path / "killed")}
    assert subprocess.run([*command, str(tmp_path / "killed")], check=False).returncode == 0
    assert subprocess.run([*command, str(tmp_path / "whole")], check=False).returncode == 0
    assert hash_files(tmp_path / "killed") == hash_files(tmp_path / "whole")
    assert all(path.stat().st_mtime_ns == then for path, then in before.items() if path.is_file())


def kill_after_blocks(command: list[str], output: Path, blocks: int) -> None:
    process = subprocess.Popen([*command, str(output)], start_new_session=True)
    wait_for(lambda: len(find_blocks(output)) >= blocks)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.usefixtures("heard")
def test_ctrl_c_leaves_a_run_that_goes_on(make_slide: MakeSlide, tmp_path: Path) -> None:
    command = [*COMMAND, "--cluster", "local", str(make_slide(901, 703)), "-o", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: find_blocks(tmp_path))
    process.send_signal(signal.SIGINT)
    assert "the same command continues" in process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert subprocess.run(command, check=False).returncode == 0


def test_maps_open_lazily_and_index_like_arrays(make_slide: MakeSlide, tmp_path: Path) -> None:
    results = wsiparse.run(make_slide(301, 203), tmp_path / "out", cluster="serial", **TONE)
    lazy = results.probability("dark")
    whole = np.asarray(lazy)
    np.testing.assert_array_equal(lazy[10:50, 7:9], whole[10:50, 7:9])
    np.testing.assert_array_equal(lazy[5], whole[5])
    np.testing.assert_array_equal(lazy[::3, -1], whole[::3, -1])
    assert lazy.shape == whole.shape
    canvas = open_canvas(lazy.canvas.path)
    assert read_region(canvas, canvas.grid.region).shape == (2, 203, 301)

"""Slides behind addresses: fetched once, kept within bounds, and the same results as from a file."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from tests.conftest import MakeSlide
from tests.outputs import hash_results
from wsiparse.cli import main
from wsiparse.errors import PlanError, SlideError
from wsiparse.runs.manifest import list_slides
from wsiparse.runs.run import open_run
from wsiparse.slides.open import open_slide
from wsiparse.slides.remote import fetch_slide

MODEL = ["--model", "tests.tiny:build_tone", "--block-tiles", "2"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WSIPARSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(name: str, content: bytes) -> str:
    fsspec.filesystem("memory").pipe_file(f"/slides/{name}", content)
    return f"memory://slides/{name}"


def cached(cache: Path) -> list[str]:
    return sorted(path.name.partition("-")[2] for path in cache.iterdir() if not path.name.startswith("."))


def test_a_remote_slide_is_the_local_one(make_slide: MakeSlide, cache: Path) -> None:
    local = make_slide(301, 203)
    url = put("drawn.svs", local.read_bytes())
    near, far = open_slide(local), open_slide(url)
    assert far.slide.id == "drawn"
    assert (near.read_region(near.slide.grid.region, 0) == far.read_region(near.slide.grid.region, 0)).all()
    assert cached(cache) == ["drawn.svs"]


@pytest.mark.parametrize("cluster", ["serial", "local"])
def test_a_cohort_of_addresses_gives_the_same_bytes(make_slide: MakeSlide, tmp_path: Path, cluster: str) -> None:
    local = make_slide(301, 203)
    (tmp_path / "m.csv").write_text(f"slide\nfile://{local}\n")
    for name, source in (("near", local), ("far", tmp_path / "m.csv")):
        assert main(["run", str(source), "-o", str(tmp_path / name), "--cluster", cluster, *MODEL]) == 0
    near, far = hash_results(tmp_path / "near"), hash_results(tmp_path / "far")
    assert {name for name in near if near[name] != far[name]} == {"drawn/summary.json"}
    assert near.keys() == far.keys()
    assert open_run(tmp_path / "far").summary("drawn")["path"] == f"file://{local}"


def test_a_slide_is_fetched_once_until_it_changes(cache: Path) -> None:
    url = put("a.svs", b"one")
    first = fetch_slide(url)
    inode = first.stat().st_ino
    assert fetch_slide(url).stat().st_ino == inode
    assert fetch_slide(put("a.svs", b"three")).read_bytes() == b"three"


def test_the_longest_unused_makes_room(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSIPARSE_CACHE_GB", "2.5e-6")
    for n, name in enumerate("abc"):
        os.utime(fetch_slide(put(name, bytes(1000))), (n, n))
        if name == "b":
            fetch_slide("memory://slides/a")  # used again
    assert cached(cache) == ["a", "c"]


def test_what_is_larger_than_the_cache_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSIPARSE_CACHE_GB", "1e-6")
    with pytest.raises(PlanError, match="WSIPARSE_CACHE_GB"):
        fetch_slide(put("big", bytes(2000)))


@pytest.mark.parametrize(
    ("url", "text"), [("memory://slides/none.svs", "no such file"), ("what://slides/a.svs", "fsspec knows")]
)
def test_addresses_that_lead_nowhere(url: str, text: str) -> None:
    with pytest.raises(SlideError, match=text):
        open_slide(url)


def test_addresses_name_their_slides() -> None:
    rows = list_slides(["https://host/a%20b.svs?version=3", "s3://bucket/x/a.svs", "s3://bucket/y/a.svs"])
    assert [row.slide for row in rows][1] == "s3://bucket/x/a.svs"
    assert len({row.id for row in rows}) == 3
    assert rows[0].id == "a-20b"

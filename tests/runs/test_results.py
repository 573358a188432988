from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wsiparse
from tests.conftest import MakeSlide
from wsiparse.errors import InputError
from wsiparse.runs.config import load_config
from wsiparse.runs.results import Results
from wsiparse.runs.run import State


@pytest.fixture
def results(make_slide: MakeSlide, tmp_path: Path) -> Results:
    """Of a tissue that is asked for red alone, and a blank slide."""
    make_slide(301, 203, name="one.svs")
    make_slide(300, 200, pixels=np.full((200, 300, 3), 244, np.uint8), name="blank.svs")
    (tmp_path / "m.csv").write_text("slide,targets\none.svs,red\nblank.svs,\n")
    return wsiparse.run(tmp_path / "m.csv", tmp_path / "out", model="tests.tiny:build_tone", cluster="serial")


def test_a_slide_without_tissue_says_so(results: Results) -> None:
    for ask in (lambda: results.annotations("blank"), lambda: results.probability("red", "blank")):
        with pytest.raises(InputError, match="slide 'blank' is empty, expected one that is done"):
            ask()
    assert results.summary("blank")["targets"] == []


def test_a_map_that_a_slide_has_not_is_refused_with_those_it_has(results: Results) -> None:
    with pytest.raises(InputError, match=r"no map of 'dark'; expected one of red$"):
        results.probability("dark", "one")
    with pytest.raises(InputError, match=r"no slide 'two'; expected one of one, blank$"):
        results.annotations("two")


def test_a_map_is_indexed_as_an_array_is(results: Results) -> None:
    red = results.probability("red", "one")
    whole = np.asarray(red)
    slices = np.s_[0:0], np.s_[:, 5:5], np.s_[3, 7:7], np.s_[2:9, ::3], np.s_[-1], np.s_[4, 5], np.s_[::-1, -9::-2], ()
    lists: tuple[Any, ...] = (
        np.s_[[4, 2, 9], [-1, 0, 5]],
        np.s_[:, [3, 1]],
        np.ix_([4, 2], [7, 9]),
        np.s_[[]],
        [[4, 2], [0, 0]],
    )
    others = (
        whole > 200,
        (whole[:, 0] > 200, slice(3, 5)),
        np.s_[None, ..., 3:5, None],
        np.s_[..., 2:3, 5:9],
        (slice(2),),
    )
    for key in (*slices, *lists, *others):
        assert np.array_equal(red[key], whole[key])
        assert red[key].shape == whole[key].shape
    for beyond in (np.s_[999], np.s_[1, 2, 3]):
        with pytest.raises(IndexError):
            red[beyond]


def test_a_failed_slide_is_tried_again_from_python_too(make_slide: MakeSlide, tmp_path: Path) -> None:
    def run(**settings: Any) -> Results:
        return wsiparse.run(slide, tmp_path / "out", model="tests.tiny:build_tone", cluster="serial", **settings)

    slide = make_slide(301, 203, None)
    failed = run()
    for ask in (failed.summary, failed.annotations):
        with pytest.raises(InputError, match="slide 'drawn' is failed, expected one that is done"):
            ask()
    assert run(mpp=0.5).run.state("drawn") is State.FAILED
    assert run(mpp=0.5, retry_failed=True).summary()["mpp"] == 0.5


def test_from_python_results_lie_in_a_folder(
    make_slide: MakeSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    slide = make_slide(301, 203)
    tone: dict[str, Any] = {"model": "tests.tiny:build_tone", "cluster": "serial"}
    for ask in (lambda url: wsiparse.run(slide, url, **tone), wsiparse.open_run):
        with pytest.raises(InputError, match=r"s3://bucket/night: expected a folder"):
            ask("s3://bucket/night")
    assert wsiparse.run(slide, f"file://{tmp_path}/out", **tone).run.path == tmp_path / "out"
    assert {path.name for path in tmp_path.iterdir()} == {"drawn.svs", "out"}


def test_settings_that_are_paths_may_be_given_as_such(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("overlap = 3\n")
    config = load_config(
        None, {"model": tmp_path / "a.pt", "weights": tmp_path / "w.pt", "ontology": tmp_path / "o.toml"}
    )
    assert (config.model, config.ontology) == (str(tmp_path / "a.pt"), str(tmp_path / "o.toml"))
    with pytest.raises(InputError, match=r"^setting 'views' is 3"):
        load_config(None, {"views": 3})
    with pytest.raises(InputError, match=r"run.toml: setting 'overlap' is 3"):
        load_config(tmp_path / "run.toml", {"views": 8})

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import wsiparse
from tests.conftest import MakeSlide
from wsiparse.errors import InputError
from wsiparse.runs.results import Results


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
    for key in (np.s_[0:0], np.s_[:, 5:5], np.s_[3, 7:7], np.s_[2:9, ::3], np.s_[-1], np.s_[4, 5]):
        assert np.array_equal(red[key], whole[key])
        assert red[key].shape == whole[key].shape

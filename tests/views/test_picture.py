from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import MakeSlide
from wsiparse.cli import main


@pytest.fixture
def cohort(make_slide: MakeSlide, tmp_path: Path) -> Path:
    """A run of a blank slide and a tissue of 301 × 203 pixels."""
    slides = [make_slide(300, 200, pixels=np.full((200, 300, 3), 244, np.uint8), name="blank.svs")]
    slides.append(make_slide(301, 203, name="one.svs"))
    command = ["run", *map(str, slides), "-o", str(tmp_path / "out"), "--cluster", "serial"]
    assert main([*command, "--model", "tests.tiny:build_tone"]) == 0
    return tmp_path / "out"


def draw(cohort: Path, *options: str) -> int:
    return main(["picture", str(cohort), str(cohort.parent / "p.png"), *options])


def test_a_slide_stands_beside_its_outlines(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert draw(cohort, "--slide", "one", "--targets", "RED,dark things") == 0
    assert "the first" not in capsys.readouterr().out
    with Image.open(cohort.parent / "p.png") as picture:
        assert picture.size == (2 * 301 + 16, 203)
        pixels = np.asarray(picture)
    assert (pixels[:, :301] != pixels[:, 317:]).any()


def test_of_several_slides_the_first_that_is_done_is_drawn_and_named(
    cohort: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert draw(cohort, "--region", "250,150,100,100", "--side", "20") == 0
    assert "one, the first done of 2 slides" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--side", "0"], "a picture of 0 pixels: expected 1 or more"),
        (["--region", "0,0,0,0"], "nothing of the slide"),
        (["--region", "301,0,10,10"], "expected x,y,width,height within 301 × 203"),
        (["--targets", "typo"], "unknown target 'typo'"),
        (["--slide", "nope"], "no slide 'nope'; expected one of blank, one"),
        (["--slide", "blank"], "slide 'blank' is empty, expected one that is done"),
    ],
)
def test_a_picture_of_nothing_is_refused_in_one_line(
    cohort: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    capsys.readouterr()
    assert draw(cohort, *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (cohort.parent / "p.png").exists()


def test_a_picture_of_more_pixels_than_can_be_drawn_is_refused(
    cohort: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert draw(cohort, "--side", "1000000", "--region", "0,0,900000,900000") == 2
    error = capsys.readouterr().err
    assert "a picture of 900000 × 900000 pixels: expected 64,000,000 at most; give a smaller --side" in error

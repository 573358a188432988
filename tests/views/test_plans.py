from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import MakeSlide
from wsiparse.cli import main

LARGE = ["--model", "tests.tiny:build_large", "--targets", "dark", "--cluster", "serial", "--no-tissue"]


def test_no_more_is_parsed_than_the_slide_has(
    make_slide: MakeSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide = make_slide(500, 400, mpp=2.0)
    assert main(["plan", str(slide), "-o", str(tmp_path / "out"), *LARGE]) == 0
    printed = capsys.readouterr().out
    head, row = printed.splitlines()[:2]
    assert "parsed mm²" in head
    assert " 0.8 " in row  # 1 mm × 0.8 mm, though 3 × 2 cores of 448 µm are 1.2 mm²
    assert "tiles × that of one alone" in printed


def test_a_pass_that_cannot_fit_is_named(
    make_slide: MakeSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide = make_slide(300, 200)
    assert main(["plan", str(slide), "-o", str(tmp_path / "out"), *LARGE, "--memory-gb", "0.1"]) == 2
    assert "drawn, pass 0.5um: the plan needs" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_slide_that_cannot_be_opened_leaves_the_others_their_plans(
    make_slide: MakeSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slides = [str(make_slide(300, 200)), str(make_slide(300, 200, None, name="plain.svs"))]
    assert main(["plan", *slides, "-o", str(tmp_path / "out"), *LARGE]) == 3
    printed = capsys.readouterr().out
    assert "drawn" in printed
    assert "plain: " in printed
    assert "--mpp" in printed

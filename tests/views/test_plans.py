from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import MakeSlide
from wsiparse.cli import main
from wsiparse.runs import parse, planning, room, workers
from wsiparse.runs.parse import take_order
from wsiparse.views import plans

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


@pytest.mark.parametrize(("processes", "code"), [("1", 0), ("4", 2)])
def test_processes_that_cannot_fit_together_are_named(
    make_slide: MakeSlide,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    processes: str,
    code: int,
) -> None:
    monkeypatch.setattr(room, "usable_memory", lambda held: 2_000_000_000)
    local = ["--cluster", "local", "--workers", processes]
    assert main(["plan", str(make_slide(300, 200)), "-o", str(tmp_path / "out"), *LARGE, *local]) == code
    refused = "4 processes need 4 × 0.8 GB of memory and 2.0 GB may be used; lower workers"
    assert (refused in capsys.readouterr().out) == (code == 2)


def test_workers_are_planned_with_the_threads_that_each_will_have(
    make_slide: MakeSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(workers, "count_processors", lambda: 6)

    def take(*arguments: Any) -> Any:
        asked.append(torch.get_num_threads())
        return take_order(*arguments)

    monkeypatch.setattr(parse, "take_order", take)
    before = torch.get_num_threads()
    slide = str(make_slide(300, 200))
    assert main(["plan", slide, "-o", str(tmp_path / "out"), *LARGE, "--cluster", "local", "--workers", "2"]) == 0
    assert asked == [3]
    assert torch.get_num_threads() == before


def test_a_slide_that_cannot_be_opened_leaves_the_others_their_plans(
    make_slide: MakeSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slides = [str(make_slide(300, 200)), str(make_slide(300, 200, None, name="plain.svs"))]
    assert main(["plan", *slides, "-o", str(tmp_path / "out"), *LARGE]) == 3
    printed = capsys.readouterr().out
    assert "drawn" in printed
    assert "plain: " in printed
    assert "--mpp" in printed


def test_targets_of_a_row_are_planned_by_the_names_that_a_run_takes_for_them(
    make_slide: MakeSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide, manifest = make_slide(300, 200), tmp_path / "m.csv"
    command = ["plan", str(manifest), "-o", str(tmp_path / "out"), *LARGE]
    for prompt, code in (("dark things", 0), ("stroma", 2)):
        manifest.write_text(f"slide,targets\n{slide},{prompt}\n")
        assert main(command) == code
        printed = capsys.readouterr()
        assert ("0.5um" in printed.out) == (code == 0)
        assert ("slide drawn: unknown target" in printed.err) == (code == 2)


def test_slides_that_fit_alone_and_not_together_are_told(
    make_slide: MakeSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slides = [str(make_slide(900, 700, name=f"{name}.svs")) for name in "ab"]
    command = ["plan", *slides, "-o", str(tmp_path / "out"), *LARGE]
    assert main(command) == 0
    plain = capsys.readouterr().out
    (total,) = (line for line in plain.splitlines() if line.startswith("all "))
    assert total.split()[1:4] == ["0.3", "4", "2"]  # mm², tiles, blocks
    assert "may need" not in plain
    for module in (planning, plans):
        monkeypatch.setattr(module, "free_disk", lambda path: 20_000_000)  # two blocks of 3584 pixels take 34 MB
    assert main(command) == 0
    assert "the maps of all slides may need 0.03 GB of disk and 0.02 GB is free" in capsys.readouterr().out


def test_a_small_tile_is_planned_with_its_own_time(
    make_slide: MakeSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "_time_tile", lambda order, part: 100.0)
    slide = str(make_slide(224, 224, 1.5))
    command = ["plan", slide, "-o", str(tmp_path / "out"), "--targets", "gland", "--no-tissue", "--cluster", "serial"]
    assert main(command) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("drawn "))
    assert "224 px" in row
    assert row.endswith(f" {100 * 224**2 / 768**2:.0f} s")

"""Does what docs/train.md tells a reader to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from shapely import box

from tests.drawing import draw_array, draw_tissue, write_slide
from tests.evaluation.drawing import write_features
from wsiparse.cli import main
from wsiparse.runs.manifest import read_manifest

GUIDE = Path(__file__).parents[2] / "docs/train.md"
QUICK = {"steps = 600": "steps = 1", "batch = 12": "batch = 1"}


def write_files(folder: Path) -> list[str]:
    """The files that the guide shows."""
    shown = re.findall(r"```\w+\n# file: (\S+)\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)
    for name, text in shown:
        for long, short in QUICK.items():
            text = text.replace(long, short)
        (folder / name).write_text(text, encoding="utf-8")
    return [name for name, _ in shown]


def list_commands() -> list[list[str]]:
    return [line.split()[1:] for line in re.findall(r"^    (wsiparse .*)$", GUIDE.read_text(encoding="utf-8"), re.M)]


@pytest.mark.usefixtures("one_thread")
def test_the_guide_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert write_files(tmp_path) == ["slides.csv", "targets.toml", "classes.toml", "train.toml"]
    for folder in ("slides", "outlines"):
        (tmp_path / folder).mkdir()
    for seed, name in enumerate(("one", "two", "three")):
        write_slide(tmp_path / f"slides/{name}.svs", (800, 600), 1.0, draw_array(draw_tissue(800, 600, seed)))
        drawn = [(box(200, 150, 500, 400), "Tumor"), (box(510, 150, 700, 400), "Stroma"), (box(0, 0, 9, 9), "Vessel")]
        write_features(tmp_path / f"outlines/{name}.geojson", [*drawn, (box(100, 100, 750, 500), "Region*")])
    commands = list_commands()
    assert [command[0] for command in commands] == ["train", "run", "evaluate"]
    for command in commands:
        assert main(command) == 0, command
    assert (tmp_path / "my-model/samples/step-000001.png").exists()
    assert [row.id for row in read_manifest(tmp_path / "my-model/kept-apart.csv")] == ["three"]
    assert sorted(path.parent.name for path in (tmp_path / "results").glob("*/summary.json")) == ["three"]
    printed = capsys.readouterr().out
    assert "tumor" in printed
    assert "Dice" in printed or "dice" in printed

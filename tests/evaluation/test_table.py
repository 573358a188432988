from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from rich.console import Console

from wsiparse.evaluation.scores import Score
from wsiparse.evaluation.table import make_table, write_scores, write_summary

SCORES = [
    Score("a", "gland", 10, 20, 20, 3),
    Score("a", "tumour", 0, 0, 0),
    Score("b", "gland", 90, 100, 100, 4),
]


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_csv_holds_every_slide_and_then_the_cohort(tmp_path: Path) -> None:
    write_scores(tmp_path / "evaluation.csv", SCORES)
    rows = read_rows(tmp_path / "evaluation.csv")
    assert list(rows[0]) == ["slide", "target", "dice", "iou", "precision", "recall", "both", "predicted", "reference"]
    assert [(row["slide"], row["target"]) for row in rows] == [
        ("a", "gland"),
        ("a", "tumour"),
        ("b", "gland"),
        ("", "gland"),
        ("", "tumour"),
    ]
    assert rows[3] == {
        "slide": "",
        "target": "gland",
        "dice": "0.833333",
        "iou": "0.714286",
        "precision": "0.833333",
        "recall": "0.833333",
        "both": "100",
        "predicted": "120",
        "reference": "120",
    }


def test_what_is_undefined_is_empty_and_a_count_of_none_is_0(tmp_path: Path) -> None:
    write_scores(tmp_path / "evaluation.csv", SCORES)
    row = read_rows(tmp_path / "evaluation.csv")[1]
    assert [row[name] for name in ("dice", "iou", "precision", "recall")] == ["", "", "", ""]
    assert [row[name] for name in ("both", "predicted", "reference")] == ["0", "0", "0"]


def test_the_json_holds_what_the_csv_leaves_out(tmp_path: Path) -> None:
    write_summary(tmp_path / "evaluation.json", SCORES)
    summary = json.loads((tmp_path / "evaluation.json").read_text())
    gland, tumour = summary["targets"]
    assert gland["target"] == "gland"
    assert gland["dice"] == pytest.approx(200 / 240)
    assert gland["mean_dice"] == gland["median_dice"] == pytest.approx(0.7)
    assert (gland["slides"], gland["scored"], gland["ignored"]) == (2, 2, 7)
    assert (tumour["dice"], tumour["mean_dice"], tumour["scored"]) == (None, None, 0)
    assert summary["slides"][2] == {"slide": "b", "target": "gland", "ignored": 4}


def test_the_table_shows_one_row_a_target() -> None:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(make_table(SCORES))
    lines = capture.get().splitlines()
    assert lines[0].split() == ["target", "slides", "Dice", "mean", "median", "IoU", "precision", "recall"]
    assert lines[1].split() == ["gland", "2", "0.833", "0.700", "0.700", "0.714", "0.833", "0.833"]
    assert lines[2].split() == ["tumour", "1", "–", "–", "–", "–", "–", "–"]


def test_nothing_compared_is_a_table_of_names_alone(tmp_path: Path) -> None:
    write_scores(tmp_path / "evaluation.csv", [])
    assert read_rows(tmp_path / "evaluation.csv") == []
    assert make_table([]).row_count == 0

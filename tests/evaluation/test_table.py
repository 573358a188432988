from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from wsiparse.evaluation.calibration import count_calibration
from wsiparse.evaluation.confusion import Confusion
from wsiparse.evaluation.document import write_summary
from wsiparse.evaluation.measures import Evaluation, Measures
from wsiparse.evaluation.objects import ObjectScore
from wsiparse.evaluation.scores import Score
from wsiparse.evaluation.table import make_tables, write_scores

SCORES = Evaluation(
    (
        Measures(Score("a", "gland", 10, 20, 20, 3)),
        Measures(Score("a", "tumour", 0, 0, 0)),
        Measures(Score("b", "gland", 90, 100, 100, 4)),
    )
)
SURE = count_calibration(np.full((2, 5), 255, np.uint8), np.arange(10).reshape(2, 5) < 8)
"""Said to be certain, right in eight of ten pixels."""
RICH = Evaluation(
    (
        Measures(Score("a", "nuclei", 10, 20, 20), SURE, ObjectScore(4, 6, 3, 2.4, 3, 3, 40.0, 60.0, 20.0, 30.0), 12.5),
        Measures(Score("b", "nuclei", 50, 60, 60), SURE, ObjectScore(2, 0, predicted_area_um2=10.0), 7.5),
    ),
    (Confusion(("x", "y"), np.arange(9).reshape(3, 3)),),
)


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_csv_holds_every_slide_and_then_the_cohort(tmp_path: Path) -> None:
    write_scores(tmp_path / "evaluation.csv", SCORES)
    rows = read_rows(tmp_path / "evaluation.csv")
    assert list(rows[0])[:9] == [
        *("slide", "target", "dice", "iou", "precision", "recall", "both", "predicted", "reference")
    ]
    assert [(row["slide"], row["target"]) for row in rows] == [
        ("a", "gland"),
        ("a", "tumour"),
        ("b", "gland"),
        ("", "gland"),
        ("", "tumour"),
    ]
    assert {name: value for name, value in rows[3].items() if value and not name.startswith("dice_")} == {
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
    slide = summary["slides"][2]
    assert (slide["slide"], slide["target"], slide["dice"], slide["ignored"]) == ("b", "gland", 0.9, 4)
    assert (slide["ece"], slide["hd95_um"], slide["objects"]) == (None, None, None)


def show(evaluation: Evaluation) -> list[list[str]]:
    """Words of each line of the tables, on the narrowest terminal in use."""
    console = Console(width=80)
    with console.capture() as capture:
        console.print(*make_tables(evaluation))
    return [line.split() for line in capture.get().splitlines()]


def test_the_table_shows_one_row_a_target() -> None:
    lines = show(SCORES)
    assert lines[0] == ["target", "slides", "Dice", "mean", "median", "IoU", "precision", "recall"]
    assert lines[1] == ["gland", "2", "0.833", "0.700", "0.700", "0.714", "0.833", "0.833"]
    assert lines[2] == ["tumour", "1", "–", "–", "–", "–", "–", "–"]


def test_a_second_table_says_how_sure_that_is() -> None:
    assert show(SCORES)[4] == ["gland", "0.500–0.900", "0.500–0.900", "–", "–"]
    assert show(RICH)[3] == ["nuclei", "0.500–0.833", "0.500–0.833", "0.200", "10.0"]


def test_objects_calibration_and_distances_follow_the_columns_of_pixels(tmp_path: Path) -> None:
    write_scores(tmp_path / "evaluation.csv", RICH)
    first, second, cohort = read_rows(tmp_path / "evaluation.csv")
    assert (first["pq"], first["dq"], first["sq"]) == ("0.480000", "0.600000", "0.800000")
    assert (second["pq"], second["count_error"], second["predicted_objects"]) == ("0.000000", "", "2")
    assert (cohort["predicted_objects"], cohort["reference_objects"], cohort["count_error"]) == ("6", "6", "0.000000")
    assert (cohort["hd95_um"], cohort["ece"]) == ("10.000000", "0.200000")
    assert first["dice_low"] == ""
    assert float(cohort["dice_low"]) == 0.5 < float(cohort["dice"]) < float(cohort["dice_high"])


def test_the_json_holds_intervals_the_calibration_curve_and_confusions(tmp_path: Path) -> None:
    write_summary(tmp_path / "evaluation.json", RICH, {"reference": "/labels", "mapping": None})
    summary = json.loads((tmp_path / "evaluation.json").read_text())
    (nuclei,) = summary["targets"]
    assert nuclei["intervals"]["dice"] == {"low": 0.5, "high": pytest.approx(5 / 6)}
    assert nuclei["intervals"]["confidence"] == 0.95
    assert nuclei["calibration"]["ece"] == nuclei["calibration"]["mce"] == pytest.approx(0.2)
    assert nuclei["calibration"]["curve"]["observed"][-1] == pytest.approx(0.8)
    assert nuclei["calibration"]["curve"]["observed"][0] is None
    assert nuclei["objects"]["dq"] == 0.5
    assert summary["slides"][1]["objects"]["sq"] is None
    assert summary["confusions"] == [{"targets": ["x", "y"], "pixels": [[0, 1, 2], [3, 4, 5], [6, 7, 8]]}]
    assert summary["source"] == {"reference": "/labels", "mapping": None}


def test_objects_have_a_table_of_their_own_where_there_are_any() -> None:
    assert len(make_tables(SCORES)) == 2
    assert show(RICH)[4] == ["target", "objects", "drawn", "error", "PQ", "DQ", "SQ", "F1", "Dice"]
    assert show(RICH)[5] == ["nuclei", "6", "6", "0.000", "0.400", "0.500", "0.800", "0.500", "0.450"]


def test_nothing_compared_is_a_table_of_names_alone(tmp_path: Path) -> None:
    write_scores(tmp_path / "evaluation.csv", Evaluation(()))
    assert read_rows(tmp_path / "evaluation.csv") == []
    assert [table.row_count for table in make_tables(Evaluation(()))] == [0, 0]

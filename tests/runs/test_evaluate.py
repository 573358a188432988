from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rasterio.features import rasterize

import wsiparse
from tests.conftest import MakeSlide
from tests.drawing import draw_tissue
from wsiparse.cli import main
from wsiparse.errors import InputError
from wsiparse.runs.agreement import compare_readers
from wsiparse.runs.evaluate import evaluate_run
from wsiparse.runs.run import State

TONE: dict[str, Any] = {
    "model": "tests.tiny:build_tone",
    "tissue": False,
    "cluster": "serial",
    "targets": ("dark", "light"),
}


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_mask_made_from_the_prediction_scores_one(make_slide: MakeSlide, tmp_path: Path) -> None:
    results = wsiparse.run(make_slide(501, 403), tmp_path / "out", **TONE)
    dark = np.asarray(results.probability("dark")) >= 153
    (tmp_path / "ref").mkdir()
    Image.fromarray(dark).convert("L").save(tmp_path / "ref/drawn__dark.png")
    scores = evaluate_run(results.run, tmp_path / "ref").scores
    assert [(score.target, score.dice) for score in scores] == [("dark", 1.0)]


def test_a_runs_own_label_map_is_a_reference_of_all_its_targets(make_slide: MakeSlide, tmp_path: Path) -> None:
    slide = make_slide(501, 403)
    wsiparse.run(slide, tmp_path / "first", **TONE)
    labels = tmp_path / "first/drawn/parse.zarr/0.5um/labels/tone"
    (tmp_path / "m.csv").write_text(f"slide,reference\n{slide},{labels}\n")
    scores = evaluate_run(wsiparse.run(tmp_path / "m.csv", tmp_path / "out", **TONE).run).scores
    assert [(score.target, score.dice) for score in scores] == [("dark", 1.0), ("light", 1.0)]


def test_own_outlines_read_back_score_almost_one(make_slide: MakeSlide, tmp_path: Path) -> None:
    results = wsiparse.run(make_slide(501, 403), tmp_path / "out", simplify=0.0, **TONE)
    outlines = (tmp_path / "out/drawn/annotations.geojson.gz").read_bytes()
    (tmp_path / "ref").mkdir()
    (tmp_path / "ref/drawn.geojson.gz").write_bytes(outlines)
    scores = {score.target: score.dice for score in evaluate_run(results.run, tmp_path / "ref").scores}
    assert scores == {"dark": 1.0, "light": 1.0}


def test_the_command_scores_a_manifest_and_pools_pixels(
    make_slide: MakeSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in (1, 2):
        pixels = draw_tissue(300 * n, 200, seed=n)
        make_slide(300 * n, 200, pixels=pixels, name=f"s{n}.svs")
        half = np.zeros((200, 300 * n), np.uint8)
        half[:, : 150 * n] = 255
        Image.fromarray(half).save(tmp_path / f"half{n}.png")
    (tmp_path / "m.csv").write_text(
        "slide,reference,reference_target,hospital\ns1.svs,half1.png,light,A\ns2.svs,half2.png,light,B\n"
    )
    out = tmp_path / "out"
    command = ["run", str(tmp_path / "m.csv"), "-o", str(out), "--no-tissue", "--cluster", "serial"]
    assert main([*command, "--model", "tests.tiny:build_tone"]) == 0
    assert main(["evaluate", str(out)]) == 0
    assert "light" in capsys.readouterr().out
    rows = read_rows(out / "evaluation.csv")
    assert [row["slide"] for row in rows] == ["s1", "s2", ""]
    both, predicted, reference = (
        sum(int(row[name]) for row in rows[:2]) for name in ("both", "predicted", "reference")
    )
    assert float(rows[2]["dice"]) == pytest.approx(2 * both / (predicted + reference), abs=1e-6)
    assert reference == 200 * 450
    assert json.loads((out / "evaluation.json").read_text())["targets"][0]["slides"] == 2
    assert read_rows(out / "slides.csv")[0]["hospital"] == "A"


def test_a_slide_taken_for_empty_is_scored_as_having_found_nothing(make_slide: MakeSlide, tmp_path: Path) -> None:
    white = make_slide(600, 400, pixels=np.full((400, 600, 3), 244, np.uint8))
    results = wsiparse.run(white, tmp_path / "out", model="tests.tiny:build_tone", cluster="serial")
    (tmp_path / "ref").mkdir()
    Image.fromarray(np.full((400, 600), 255, np.uint8)).save(tmp_path / "ref/drawn__dark.png")
    scores = evaluate_run(results.run, tmp_path / "ref").scores
    assert [(score.dice, score.predicted, score.reference) for score in scores] == [(0.0, 0, 240_000)]


def test_a_slide_is_scored_on_what_its_row_asks_for(make_slide: MakeSlide, tmp_path: Path) -> None:
    make_slide(600, 400, pixels=np.full((400, 600, 3), 244, np.uint8), name="blank.svs")
    make_slide(600, 400, name="drawn.svs")
    for name in ("dark", "red"):
        (tmp_path / "ref").mkdir(exist_ok=True)
        for slide in ("blank", "drawn"):
            Image.fromarray(np.full((400, 600), 255, np.uint8)).save(tmp_path / f"ref/{slide}__{name}.png")
    (tmp_path / "m.csv").write_text("slide,targets\nblank.svs,red\ndrawn.svs,\n")
    results = wsiparse.run(tmp_path / "m.csv", tmp_path / "out", model="tests.tiny:build_tone", cluster="serial")
    readers = [tmp_path / "ref", shutil.copytree(tmp_path / "ref", tmp_path / "ben")]
    evaluation = evaluate_run(results.run, tmp_path / "ref")
    assert results.run.state("blank") is State.EMPTY
    assert [(score.slide, score.target) for score in evaluation.scores] == [
        ("blank", "red"),
        ("drawn", "dark"),
        ("drawn", "red"),
    ]
    pixels = {part.target: part.agreement.shared[1, 1] for part in compare_readers(results.run, readers).targets}
    assert pixels == {"red": 2 * 300 * 200, "dark": 600 * 400}


def test_a_slide_that_is_gone_does_not_stop_the_others(
    make_slide: MakeSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.csv").write_text("slide\none.svs\ntwo.svs\n")
    for name in ("one", "two"):
        make_slide(301, 203, name=f"{name}.svs")
        (tmp_path / "ref").mkdir(exist_ok=True)
        Image.fromarray(np.full((203, 301), 255, np.uint8)).save(tmp_path / f"ref/{name}__dark.png")
    results = wsiparse.run(tmp_path / "m.csv", tmp_path / "out", **TONE)
    shutil.copytree(tmp_path / "ref", tmp_path / "ben")
    (tmp_path / "one.svs").unlink()
    readers = [part for name in ("ref", "ben") for part in ("--reference", str(tmp_path / name))]
    assert main(["evaluate", str(results.run.path), *readers]) == 3
    assert "not compared: one: " in capsys.readouterr().out
    assert {row["slide"] for row in read_rows(tmp_path / "out/evaluation.csv")} == {"two", ""}
    assert json.loads((tmp_path / "out/agreement.json").read_text())["slides"] == 1


def test_no_reference_at_all_is_refused(make_slide: MakeSlide, tmp_path: Path) -> None:
    results = wsiparse.run(make_slide(301, 203), tmp_path / "out", **TONE)
    with pytest.raises(InputError, match="--reference"):
        evaluate_run(results.run)


def test_numbered_objects_distances_and_calibration_are_measured_on_request_and_pooled(
    make_slide: MakeSlide, tmp_path: Path
) -> None:
    settings = {**TONE, "targets": ("dark", "light", "red"), "simplify": 0.0}
    results = wsiparse.run(make_slide(501, 403), tmp_path / "out", **settings)
    objects = results.annotations()
    red = objects[objects.target == "red"].geometry
    numbers = rasterize([(shape, n) for n, shape in enumerate(red, start=1)], (403, 501), dtype="uint16")
    (tmp_path / "ref").mkdir()
    Image.fromarray(np.asarray(results.probability("dark")) >= 153).convert("L").save(tmp_path / "ref/drawn__dark.png")
    Image.fromarray(numbers).save(tmp_path / "red.png")
    manifest = tmp_path / "m.csv"
    manifest.write_text("id,slide,reference,reference_target,reference_instances\ndrawn,drawn.svs,red.png,red,yes\n")
    (score,) = evaluate_run(results.run, manifest).measures
    assert score.objects is not None
    assert score.objects.predicted == len(red) > 0
    assert score.objects.panoptic_quality > 0.9
    assert np.isnan(score.hd95_um)  # of objects it says nothing
    (dark,) = evaluate_run(results.run, tmp_path / "ref", hd95=True).measures
    assert (dark.score.dice, dark.hd95_um, dark.objects) == (1.0, 0.0, None)
    assert dark.calibration is not None
    assert dark.calibration.pixels.sum() == 501 * 403
    assert dark.calibration.hits[:153].sum() == 0


def test_regions_that_a_mask_numbers_are_scored_as_objects_too(make_slide: MakeSlide, tmp_path: Path) -> None:
    results = wsiparse.run(make_slide(501, 403), tmp_path / "out", simplify=0.0, **TONE)
    objects = results.annotations()
    dark = objects[objects.target == "dark"].geometry
    numbers = rasterize([(shape, n) for n, shape in enumerate(dark, start=1)], (403, 501), dtype="uint16")
    Image.fromarray(numbers).save(tmp_path / "dark.png")
    for numbered in ("yes", ""):
        columns = "id,slide,reference,reference_target,reference_instances"
        (tmp_path / "m.csv").write_text(f"{columns}\ndrawn,drawn.svs,dark.png,dark,{numbered}\n")
        if not numbered:
            Image.fromarray(numbers > 0).save(tmp_path / "dark.png")
        (score,) = evaluate_run(results.run, tmp_path / "m.csv", hd95=True).measures
        assert (score.score.dice, score.hd95_um) == (1.0, 0.0)
        assert (score.objects is not None) == (numbered == "yes")
        if score.objects:
            assert score.objects.predicted == score.objects.matched == len(dark)
            assert score.objects.detection_f1 == 1.0
            assert score.objects.object_dice == pytest.approx(1.0)


def test_a_slide_taken_for_empty_has_missed_every_object_and_was_sure_of_it(
    make_slide: MakeSlide, tmp_path: Path
) -> None:
    white = make_slide(600, 400, pixels=np.full((400, 600, 3), 244, np.uint8))
    results = wsiparse.run(white, tmp_path / "out", model="tests.tiny:build_tone", cluster="serial")
    numbers = np.zeros((400, 600), np.uint16)
    numbers[100:200, 100:300] = 1
    numbers[200:300, 100:300] = 2
    Image.fromarray(numbers).save(tmp_path / "red.png")
    manifest = tmp_path / "m.csv"
    manifest.write_text("id,slide,reference,reference_target,reference_instances\ndrawn,drawn.svs,red.png,red,yes\n")
    (red,) = evaluate_run(results.run, manifest, hd95=True).measures
    assert red.objects is not None
    assert (red.objects.predicted, red.objects.reference, red.objects.panoptic_quality) == (0, 2, 0)
    assert red.calibration_error == pytest.approx(1 / 6)

"""What a run makes of its findings: tested, marked, selected; the same however the slide was cut and interrupted."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile

import wsiparse
from tests.conftest import MakeSlide
from tests.outputs import hash_results
from wsiparse.cli import main
from wsiparse.errors import InputError, RunError
from wsiparse.maps import evidence
from wsiparse.maps.validity import BetaFit, load_fits, write_fits
from wsiparse.ontology import Target
from wsiparse.runs import finish, judge, pipeline
from wsiparse.runs.config import RunConfig, load_config
from wsiparse.runs.results import Results
from wsiparse.runs.rules import make_rules

RIVALS: dict[str, Any] = {"model": "tests.tiny:build_rivals", "tissue": False, "cluster": "serial"}
ANYTHING = BetaFit(1, 1)


@pytest.fixture
def fits(tmp_path: Path) -> Path:
    """Fits by which alpha is plausible in the drawn tissue and gamma is not; beta and delta have none."""
    sure, unsure = BetaFit(400, 110), BetaFit(990, 10)
    made = {"alpha": (sure, *[ANYTHING] * 3), "gamma": (unsure, *[ANYTHING] * 3)}
    write_fits(tmp_path / "fits.json", made, {"alpha": 40, "gamma": 40})
    return tmp_path / "fits.json"


def entries(results: Results, *names: str) -> dict[str, list[Any]]:
    return {entry["target"]: [entry[name] for name in names] for entry in results.summary()["targets"]}


def corrupt(slide: Path) -> None:
    """Overwrite the first stored tile, which shows glass and tissue."""
    with tifffile.TiffFile(slide) as file:
        page = file.pages.first
        start, count = page.dataoffsets[0], page.databytecounts[0]
    with slide.open("r+b") as content:
        content.seek(start)
        content.write(bytes(range(7)) * (count // 7))


def test_findings_are_tested_and_only_marked_unless_asked(make_slide: MakeSlide, tmp_path: Path, fits: Path) -> None:
    slide, settings = make_slide(301, 203), {**RIVALS, "validity": str(fits)}
    marked = wsiparse.run(slide, tmp_path / "marked", **settings)
    found = entries(marked, "refused", "refused_tiles", "selected", "objects")
    assert found["alpha"][:3] == [False, 0.0, True]
    assert found["gamma"][:3] == [True, 1.0, True]
    assert found["beta"][:2] == found["delta"][:2] == [None, None]
    p_values = entries(marked, "p_value")
    assert p_values["alpha"][0] > p_values["gamma"][0] == pytest.approx(0, abs=1e-6)
    settings["targets"] = ["gamma", "delta"]
    kept = wsiparse.run(slide, tmp_path / "kept", **settings)
    dropped = wsiparse.run(slide, tmp_path / "dropped", **settings, drop_refused=True)
    assert entries(kept, "refused", "selected")["gamma"] == [True, True]
    assert entries(kept, "objects")["gamma"][0] > 0
    assert entries(dropped, "refused", "selected", "objects")["gamma"] == [True, False, 0]
    np.testing.assert_array_equal(kept.probability("gamma"), dropped.probability("gamma"))


def test_people_are_told_what_was_refused(
    make_slide: MakeSlide, tmp_path: Path, fits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", str(make_slide(301, 203)), "-o", str(tmp_path / "out"), "--cluster", "serial", "--no-tissue"]
    assert main([*command, "--model", "tests.tiny:build_rivals", "--validity", str(fits)]) == 0
    said = "refused drawn: gamma: 100% of its tiles are unlike those that do show it"
    assert said in capsys.readouterr().out
    assert main(["status", str(tmp_path / "out")]) == 0
    assert said in capsys.readouterr().out
    assert main(["report", str(tmp_path / "out")]) == 0
    assert "gamma (refused)" in (tmp_path / "out/report.html").read_text()
    with (tmp_path / "out/summary.csv").open(newline="") as file:
        rows = {row["target"]: row for row in csv.DictReader(file)}
    assert (rows["gamma"]["refused"], rows["alpha"]["refused"], rows["beta"]["refused"]) == ("True", "False", "")


def test_the_table_holds_every_tile_of_every_tested_target(make_slide: MakeSlide, tmp_path: Path, fits: Path) -> None:
    results = wsiparse.run(make_slide(301, 203), tmp_path / "out", **RIVALS, validity=str(fits))
    folder = results.run.folder("drawn")
    rows = pq.read_table(folder / "tiles.parquet").to_pandas()
    assert not (folder / "evidence").exists()
    assert set(rows["target"]) == {"alpha", "gamma"}
    assert len(rows) == 2 * results.summary()["tiles"]
    alpha = rows[rows["target"] == "alpha"]
    assert (alpha["width"] * alpha["height"]).sum() == 301 * 203
    pixels = np.asarray(results.probability("alpha")) >= 128
    assert (alpha["area_share"] * alpha["width"] * alpha["height"]).sum() == pytest.approx(pixels.sum())
    assert alpha[alpha["area_share"] > 0]["probability"].unique() == pytest.approx([200 / 255])


@pytest.mark.parametrize("recognition", ["threshold", "paper", "code"])
def test_cutting_a_slide_otherwise_changes_no_verdict(
    make_slide: MakeSlide, tmp_path: Path, fits: Path, recognition: str
) -> None:
    slide, settings = make_slide(301, 203), {**RIVALS, "validity": str(fits), "recognition": recognition}
    runs = [wsiparse.run(slide, tmp_path / str(side), block_tiles=side, **settings) for side in (1, 3, 16)]
    verdicts = [run.summary()["targets"] for run in runs]
    assert verdicts[0] == verdicts[1] == verdicts[2]
    tables = [(run.run.folder("drawn") / "tiles.parquet").read_bytes() for run in runs]
    assert tables[0] == tables[1] == tables[2]


def test_a_cluster_judges_as_one_process_does(make_slide: MakeSlide, tmp_path: Path, fits: Path) -> None:
    slide = make_slide(301, 203, tile=96)
    corrupt(slide)
    settings = {**RIVALS, "validity": str(fits), "recognition": "code", "block_tiles": 2}
    serial = wsiparse.run(slide, tmp_path / "serial", **settings)
    wsiparse.run(slide, tmp_path / "other", **{**settings, "cluster": "local"})
    assert hash_results(tmp_path / "other") == hash_results(tmp_path / "serial")
    assert serial.summary()["unreadable_pixels"] > 0


class Stop(BaseException):
    """Ends a run as a kill does: nothing catches it."""


@pytest.mark.parametrize(
    ("module", "name", "call"),
    [
        (pipeline, "write_block", 4),
        (judge, "write_evidence", 4),
        (judge, "write_tiles", 1),
        (shutil, "rmtree", 1),
        (finish, "write_json", 1),
    ],
)
@pytest.mark.parametrize("validity", ["fits.json", "off"])
def test_a_run_that_was_stopped_says_the_same_in_the_end(
    make_slide: MakeSlide,
    tmp_path: Path,
    fits: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    call: int,
    validity: str,
) -> None:
    slide = make_slide(301, 203, tile=96)
    corrupt(slide)
    settings = {**RIVALS, "block_tiles": 1, "validity": str(fits) if validity != "off" else "off"}
    whole = wsiparse.run(slide, tmp_path / "whole", **settings)
    assert whole.summary()["unreadable_pixels"] > 0
    with monkeypatch.context() as patch:
        patch.setattr(module, name, stop_at(getattr(module, name), call))
        with pytest.raises(Stop):
            wsiparse.run(slide, tmp_path / "stopped", **settings)
    wsiparse.run(slide, tmp_path / "stopped", **settings)
    assert hash_results(tmp_path / "stopped") == hash_results(tmp_path / "whole")


def test_a_block_that_is_stored_again_after_the_end_leaves_nothing(
    make_slide: MakeSlide, tmp_path: Path, fits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask may repeat tasks of a lost worker at any time."""
    stored: list[tuple[Any, Any]] = []
    store = pipeline.store_block

    def remember(work: Any, predicted: Any) -> Any:
        stored.append((work, predicted))
        return store(work, predicted)

    monkeypatch.setattr(pipeline, "store_block", remember)
    wsiparse.run(make_slide(301, 203), tmp_path / "out", **RIVALS, validity=str(fits))
    before = hash_results(tmp_path / "out")
    for again in stored:
        store(*again)
    assert hash_results(tmp_path / "out") == before


def test_evidence_that_another_process_takes_away_is_in_its_table(
    make_slide: MakeSlide, tmp_path: Path, fits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide, settings = make_slide(301, 203), {**RIVALS, "validity": str(fits)}
    wsiparse.run(slide, tmp_path / "alone", **settings)
    works: list[Any] = []

    def judge_twice(work: Any) -> Any:
        works.append(work)
        return judge_work(work)

    def read_too_late(*arguments: Any) -> Any:
        if len(works) == 1:
            works.append(works[0])
            judge_work(works[0])
        return read(*arguments)

    judge_work, read = judge.judge_work, evidence.read_evidence
    monkeypatch.setattr(pipeline, "judge_work", judge_twice)
    monkeypatch.setattr(judge, "read_evidence", read_too_late)
    wsiparse.run(slide, tmp_path / "disturbed", **settings)
    assert len(works) == 2
    assert hash_results(tmp_path / "disturbed") == hash_results(tmp_path / "alone")


def stop_at(function: Any, call: int) -> Any:
    calls: list[None] = []

    def stopping(*arguments: Any, **options: Any) -> Any:
        calls.append(None)
        if len(calls) == call:
            raise Stop
        return function(*arguments, **options)

    return stopping


def test_the_paper_and_the_code_select_what_is_there(make_slide: MakeSlide, tmp_path: Path) -> None:
    slide = make_slide(301, 203)
    chosen = {
        way: {
            name: selected
            for name, (selected,) in entries(
                wsiparse.run(slide, tmp_path / way, **RIVALS, recognition=way), "selected"
            ).items()
        }
        for way in ("threshold", "paper", "code")
    }
    assert set(chosen["threshold"].values()) == {True}
    assert not chosen["paper"]["gamma"]
    assert not chosen["paper"]["delta"]
    assert chosen["paper"]["alpha"] or chosen["paper"]["beta"]
    assert not chosen["code"]["gamma"]
    assert not chosen["code"]["delta"]


@pytest.mark.parametrize("recognition", ["paper", "code"])
@pytest.mark.parametrize("targets", [["alpha"], ["delta"], []])
def test_one_target_and_empty_maps_are_recognised(
    make_slide: MakeSlide, tmp_path: Path, recognition: str, targets: list[str]
) -> None:
    white = np.full((203, 301, 3), 244, np.uint8)
    for name, pixels in (("white", white), ("tissue", None)):
        slide = make_slide(301, 203, pixels=pixels, name=f"{name}.svs")
        results = wsiparse.run(slide, tmp_path / name, **RIVALS, recognition=recognition, targets=targets)
        selected = [name for name, (there,) in entries(results, "selected").items() if there]
        found = [name for name, (objects,) in entries(results, "objects").items() if objects]
        assert found == [name for name in selected if name in found]
        assert bool(found) == (name == "tissue" and targets != ["delta"])


def test_another_way_of_judging_is_another_run(make_slide: MakeSlide, tmp_path: Path, fits: Path) -> None:
    slide = make_slide(301, 203)
    wsiparse.run(slide, tmp_path / "out", **RIVALS)
    for changed in ({"recognition": "paper"}, {"validity": str(fits)}, {"refuse_below": 0.1}):
        with pytest.raises(RunError, match="another model, targets, settings"):
            wsiparse.run(slide, tmp_path / "out", **RIVALS, **changed)
    moved = shutil.copy(fits, tmp_path / "moved.json")
    wsiparse.run(slide, tmp_path / "tested", **RIVALS, validity=str(fits))
    with pytest.raises(RunError, match="another model, targets, settings"):
        wsiparse.run(slide, tmp_path / "tested", **RIVALS, validity=str(fits), drop_refused=True)
    wsiparse.run(slide, tmp_path / "tested", **RIVALS, validity=str(moved))


def test_wrong_settings_are_named(make_slide: MakeSlide, tmp_path: Path, fits: Path) -> None:
    with pytest.raises(InputError, match="recognition"):
        load_config(None, {"recognition": "guess"})
    foreign = Target("nuclei", "nuclei in pathology", "cell", (0, 0, 0), 0.5)
    with pytest.raises(InputError, match=r"fits of alpha, gamma, expected some of nuclei.*models calibrate"):
        make_rules(RunConfig(validity=str(fits)), "rivals", [foreign])
    for validity in (None, "off"):  # nothing is tested, so that nothing would be dropped
        with pytest.raises(InputError, match=r"drop_refused: no fits for any of nuclei, .*--validity"):
            make_rules(RunConfig(validity=validity, drop_refused=True), "rivals", [foreign])
    command = ["run", str(make_slide(301, 203)), "-o", str(tmp_path / "o"), "--cluster", "serial", "--no-tissue"]
    assert main([*command, "--model", "tests.tiny:build_rivals", "--validity", str(tmp_path / "none.json")]) == 2
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("name", ["biomedparse-v1", "biomedparse-v1-bfloat16"])
def test_the_published_fits_are_taken_for_the_published_model_alone(name: str) -> None:
    cells = Target("immune cells", "inflammatory cells in lung pathology", "cell", (0, 0, 0), 0.25)
    nuclei = Target("nuclei", "nuclei in pathology", "nuclei", (0, 0, 0), 0.25)
    rules = make_rules(RunConfig(), name, [cells, nuclei])
    shipped = load_fits(Path(__file__).parents[2] / "configs/validity/biomedparse-v1.json")
    assert rules.fits == {"immune cells": shipped["inflammatory cells"]}
    assert make_rules(RunConfig(validity="off"), name, [cells]).fits == {}
    assert make_rules(RunConfig(), "rivals", [cells]).fits == {}
    assert make_rules(RunConfig(validity="biomedparse-v1"), "rivals", [cells]).fits == rules.fits

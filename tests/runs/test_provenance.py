"""run.json tells enough to carry the run out again."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

from tests.conftest import MakeSlide
from tests.outputs import hash_results
from wsiparse.cli import main
from wsiparse.runs.config import load_config
from wsiparse.runs.provenance import read_revision
from wsiparse.runs.run import open_run
from wsiparse.runs.submit import spell_settings

SETTINGS = ["--model", "tests.tiny:build_tone", "--cluster", "serial", "--targets", "dark,red", "--no-tissue"]


def test_a_run_is_repeated_from_its_record(make_slide: MakeSlide, tmp_path: Path) -> None:
    slide = make_slide(301, 203)
    assert main(["run", str(slide), "-o", str(tmp_path / "a"), *SETTINGS, "--overlap", "32"]) == 0
    record = open_run(tmp_path / "a").record
    assert record["slides"]["count"] == 1
    assert len(open_run(tmp_path / "a").summary("drawn")["fingerprint"]) == 64
    assert record["machine"]["accelerators"] == []
    config = load_config(None, record["config"])
    given = {key: value for key, value in config.model_dump(exclude_defaults=True).items() if value is not None}
    again = ["run", str(tmp_path / "a/slides.csv"), "-o", str(tmp_path / "b"), *spell_settings(given)]
    assert main(again) == 0
    assert hash_results(tmp_path / "a") == hash_results(tmp_path / "b")
    assert open_run(tmp_path / "b").record["fingerprint"] == record["fingerprint"]


def test_continuing_keeps_the_first_record(make_slide: MakeSlide, tmp_path: Path) -> None:
    command = ["run", str(make_slide(301, 203)), "-o", str(tmp_path / "out"), *SETTINGS]
    assert main(command) == 0
    first = (tmp_path / "out/run.json").read_bytes()
    assert main([*command, "--window", "2"]) == 0
    assert (tmp_path / "out/run.json").read_bytes() == first


def test_summary_has_a_row_for_each_target(make_slide: MakeSlide, tmp_path: Path) -> None:
    assert main(["run", str(make_slide(301, 203)), "-o", str(tmp_path / "out"), *SETTINGS]) == 0
    with (tmp_path / "out/summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = open_run(tmp_path / "out").summary("drawn")["targets"]
    assert [(row["target"], int(row["objects"])) for row in rows] == [(t["target"], t["objects"]) for t in told]
    assert [float(row["area_um2"]) for row in rows] == [t["area_um2"] for t in told]


def test_the_revision_is_that_of_our_own_checkout_alone(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *words], check=True, capture_output=True)

    package = tmp_path / "wsiparse"
    (package / "deep").mkdir(parents=True)
    (package / "a.py").write_text("")
    assert read_revision(package) is None
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    revision = read_revision(package)
    assert revision
    assert len(revision) == 40
    assert read_revision(package / "deep") is None
    (package / "a.py").write_text("changed")
    assert read_revision(package) == f"{revision}-dirty"

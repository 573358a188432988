"""What of a run's references is not used: it is named, the rest is compared, and the command ends with 3."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.drawing import write_slides
from wsiparse.cli import main

SIZE = (301, 203)
SETTINGS = ["--model", "tests.tiny:build_tone", "--targets", "dark,light", "--no-tissue", "--cluster", "serial"]


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of `patient-01` and `s1`, and a third slide that failed."""
    folder = tmp_path_factory.mktemp("run")
    write_slides(folder / "slides", 2, SIZE)
    (folder / "slides/s0.svs").rename(folder / "slides/patient 01.svs")
    (folder / "slides/broken.svs").write_bytes(b"no slide")
    assert main(["run", str(folder / "slides"), "-o", str(folder / "out"), *SETTINGS]) == 3
    return folder


@pytest.fixture
def folder(parsed: Path, tmp_path: Path) -> Path:
    """The same run in a place of its own, and an empty folder for references."""
    shutil.copytree(parsed / "out", tmp_path / "out")
    (tmp_path / "ref").mkdir()
    return tmp_path


def outline(name: str | None = "dark", kind: str = "Polygon") -> str:
    corners = [[10, 10], [200, 10], [200, 150], [10, 10]]
    geometry = {"type": kind, "coordinates": [corners] if kind == "Polygon" else corners}
    properties = {"classification": {"name": name}} if name else {}
    return json.dumps([{"type": "Feature", "geometry": geometry, "properties": properties}])


def mask(path: Path, value: int = 1) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full(SIZE[::-1], value, np.uint8)).save(path)


def evaluate(folder: Path, *readers: str) -> int:
    sources = [str(folder / reader) for reader in readers or ("ref",)]
    return main(["evaluate", str(folder / "out"), *(part for source in sources for part in ("--reference", source))])


def read_json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


@pytest.mark.parametrize("drawn", [outline(None), outline(None, "MultiPoint"), outline("light", "MultiPoint")])
def test_a_reference_of_points_or_without_classes_is_no_dice_of_0(
    folder: Path, capsys: pytest.CaptureFixture[str], drawn: str
) -> None:
    (folder / "ref/patient-01.geojson").write_text(drawn)
    (folder / "ref/s1.geojson").write_text(outline("light"))
    assert evaluate(folder) == 3
    printed = capsys.readouterr().out
    assert "not compared: patient-01: the reference shows nothing" in printed
    assert ("points, lines, tiles or without an area: 1" in printed) == ("MultiPoint" in drawn)
    document = read_json(folder / "out/evaluation.json")
    assert [(entry["slide"], entry["target"]) for entry in document["slides"]] == [("s1", "light")]


def test_an_empty_reference_says_that_nothing_is_there(folder: Path) -> None:
    (folder / "ref/patient-01.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    (folder / "ref/s1.geojson").write_text(outline("light"))
    assert evaluate(folder) == 0
    assert len(read_json(folder / "out/evaluation.json")["slides"]) == 2


def test_points_beside_outlines_are_told_and_their_classes_must_be_known(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "ref/s1.geojson").write_text(f"[{outline()}, {outline('dark', 'MultiPoint')}]")
    assert evaluate(folder) == 0
    assert "reference of s1: objects left out as points, lines, tiles or without an area: 1" in capsys.readouterr().out
    assert list(read_json(folder / "out/evaluation.json")["remarks"]) == ["s1"]
    (folder / "ref/s1.geojson").write_text(f"[{outline()}, {outline('Mitosis', 'MultiPoint')}]")
    assert evaluate(folder) == 2
    assert "'Mitosis' are no targets" in capsys.readouterr().err


def test_files_are_found_by_the_slides_file_name_and_others_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "ref/patient 01.geojson").write_text(outline())
    assert evaluate(folder) == 0
    capsys.readouterr()
    for name in ("s1_dark.geojson", "S1.GEOJSON"):
        (folder / "ref" / name).write_text(outline())
    assert evaluate(folder) == 3
    printed = capsys.readouterr().out
    for name in ("s1_dark.geojson", "S1.GEOJSON"):
        assert f"not used: {folder / 'ref' / name}: named after no slide of the run" in printed
    assert len(read_json(folder / "out/evaluation.json")["unused"]) == 2


@pytest.mark.parametrize("name", ["s1.svs.geojson", "s1.svs__dark.json", "pra\u0308parat.geojson"])
def test_references_may_be_named_as_qupath_and_macos_write_names(folder: Path, parsed: Path, name: str) -> None:
    shutil.copy(parsed / "slides/s1.svs", folder / "pr\u00e4parat.svs")
    slides = [str(folder / "pr\u00e4parat.svs"), str(parsed / "slides/s1.svs")]
    assert main(["run", *slides, "-o", str(folder / "two"), *SETTINGS]) == 0
    (folder / "ref" / name).write_text(outline())
    assert main(["evaluate", str(folder / "two"), "--reference", str(folder / "ref")]) == 0
    (entry,) = read_json(folder / "two/evaluation.json")["slides"]
    assert entry["slide"] == ("s1" if "s1" in name else "pr-parat")


def test_references_of_other_slides_are_no_trouble_where_each_slide_has_its_own(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("patient-01", "s1", "elsewhere"):
        (folder / f"ref/{name}.geojson").write_text(outline())
    assert evaluate(folder) == 0
    assert "not used" not in capsys.readouterr().out


def test_a_manifest_of_other_ids_goes_by_the_paths_and_what_fits_nothing_is_named(
    folder: Path, parsed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask(folder / "one.png")
    header, slide = "id,slide,reference,reference_target\n", parsed / "slides/s1.svs"
    (folder / "m.csv").write_text(f"{header}A,{slide},one.png,dark\n")
    assert evaluate(folder, "m.csv") == 0
    before = (folder / "out/evaluation.csv").read_text()
    assert "s1,dark" in before
    (folder / "m.csv").write_text(f"{header}A,{slide},one.png,dark\nB,elsewhere.svs,one.png,dark\n")
    assert evaluate(folder, "m.csv") == 3
    assert "not used: " in (printed := capsys.readouterr().out)
    assert "slide 'B' is not in the run" in printed
    (folder / "m.csv").write_text(f"{header}B,elsewhere.svs,one.png,dark\n")
    assert evaluate(folder, "m.csv") == 2
    assert "'B' and all others with a reference are no slides of the run" in capsys.readouterr().err
    assert (folder / "out/evaluation.csv").read_text() == before


def test_a_manifest_without_ids_is_not_taken_for_another_slide_of_the_name(folder: Path, parsed: Path) -> None:
    mask(folder / "one.png")
    shutil.copytree(parsed / "slides", folder / "slides")
    rows = f"a,{folder / 'slides/s1.svs'}\ns1,{parsed / 'slides/s1.svs'}\n"
    (folder / "run.csv").write_text(f"id,slide\n{rows}")
    assert main(["run", str(folder / "run.csv"), "-o", str(folder / "two"), *SETTINGS]) == 0
    (folder / "m.csv").write_text("slide,reference,reference_target\nslides/s1.svs,one.png,dark\n")
    assert main(["evaluate", str(folder / "two"), "--reference", str(folder / "m.csv")]) == 0
    assert [entry["slide"] for entry in read_json(folder / "two/evaluation.json")["slides"]] == ["a"]


def test_columns_of_references_are_known_with_blanks_and_capitals(
    folder: Path, parsed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = np.zeros(SIZE[::-1], np.uint8)
    numbers[20:60, 20:60], numbers[90:120, 90:120] = 3, 7
    Image.fromarray(numbers).save(folder / "one.png")
    row = f"{parsed / 'slides/s1.svs'},one.png, dark "
    (folder / "m.csv").write_text(f"slide,reference,Reference_Target, reference_instances \n{row}, Yes \n")
    assert evaluate(folder, "m.csv") == 0
    (dark,) = read_json(folder / "out/evaluation.json")["slides"]
    assert dark["target"] == "dark"
    assert dark["objects"]["reference_objects"] == 2
    (folder / "m.csv").write_text(f"slide,reference,reference_target,reference_instances\n{row},perhaps\n")
    assert evaluate(folder, "m.csv") == 2
    assert "reference_instances is 'perhaps'; expected yes or no" in capsys.readouterr().err


def test_a_slide_that_failed_or_was_not_parsed_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(folder / "out/patient-01")
    for name in ("broken", "s1", "patient-01"):
        mask(folder / f"ref/{name}__dark.png")
    assert evaluate(folder) == 3
    printed = capsys.readouterr().out
    assert "not compared: broken: the slide failed: " in printed
    assert "not compared: patient-01: the slide was not parsed yet" in printed
    shutil.rmtree(folder / "out/s1")
    assert evaluate(folder) == 2
    assert "broken: the slide failed: " in (error := capsys.readouterr().err)
    assert "(nor can 2 more slides be compared)" in error


def test_a_slide_whose_maps_were_deleted_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(folder / "out/s1/parse.zarr")
    for name in ("s1", "patient-01"):
        mask(folder / f"ref/{name}__dark.png")
    assert evaluate(folder) == 3
    assert f"not compared: s1: {folder / 'out/s1/parse.zarr'}: no maps there" in capsys.readouterr().out
    shutil.copytree(folder / "ref", folder / "anna")
    assert evaluate(folder, "ref", "anna") == 3
    assert list(read_json(folder / "out/agreement.json")["refused"]) == ["s1"]


def test_a_slide_whose_maps_are_damaged_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for shard in (folder / "out/s1/parse.zarr").glob("*/labels/*/0/c/0/0"):
        shard.write_bytes(shard.read_bytes()[:60])
    for name in ("s1", "patient-01"):
        mask(folder / f"ref/{name}__dark.png")
    assert evaluate(folder) == 3
    assert "delete the slide's folder and run again" in capsys.readouterr().out


def test_a_bad_file_of_a_reader_stops_neither_the_agreement_nor_what_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "slides").mkdir()
    for reader in ("anna", "ben", "carl"):
        for slide in ("patient-01", "s1"):
            mask(folder / reader / f"{slide}__dark.png")
    (folder / "ben/patient-01__dark.png").write_bytes(b"no picture")
    assert evaluate(folder, "anna", "ben") == 3
    printed = capsys.readouterr().out
    assert "agreement over 1 slides" in printed
    assert f"not in the agreement: patient-01: {folder / 'ben/patient-01__dark.png'}" in printed
    assert list(read_json(folder / "out/agreement.json")["refused"]) == ["patient-01"]
    (folder / "carl/s1__dark.png").unlink()
    assert evaluate(folder, "anna", "carl") == 0
    assert "agreement over 1 slides; not drawn by all readers: s1" in capsys.readouterr().out
    (folder / "anna/s1__dark.png").write_bytes(b"no picture")
    (folder / "ben/s1__dark.png").write_bytes(b"no picture")
    assert evaluate(folder, "anna", "ben") == 2
    assert "not compared: s1: " in capsys.readouterr().out, "told before the readers are found to share no slide"


def test_targets_that_no_reader_drew_are_not_in_the_agreement(folder: Path) -> None:
    for reader in ("anna", "ben"):
        (folder / reader).mkdir()
        (folder / reader / "s1.geojson").write_text(outline("dark"))
    assert evaluate(folder, "anna", "ben") == 0
    assert [entry["target"] for entry in read_json(folder / "out/agreement.json")["targets"]] == ["dark"]


def test_a_bad_reference_or_a_lost_slide_does_not_stop_a_calibration(
    folder: Path, parsed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_slides(folder / "slides", 3, (701, 503))
    settings = ["--targets", "dark", *SETTINGS[:2], *SETTINGS[4:]]
    assert main(["run", str(folder / "slides"), "-o", str(folder / "three"), *settings]) == 0
    for name in ("s0", "s1", "s2"):
        Image.fromarray(np.full((503, 701), 255, np.uint8)).save(folder / f"ref/{name}__dark.png")
    (folder / "ref/s1__dark.png").write_bytes(b"no picture")
    (folder / "slides/s2.svs").unlink()
    command = ["models", "calibrate", str(folder / "three"), "-o", str(folder / "f.json")]
    capsys.readouterr()
    assert main([*command, "--reference", str(folder / "ref")]) == 3
    printed = capsys.readouterr().out
    assert "left out: s1: " in printed
    assert "left out: s2: " in printed
    assert (folder / "f.json").exists()

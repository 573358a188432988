"""`wsiparse export`: every format from one run of two slides, each held against what the run itself says."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr

import wsiparse
from tests.drawing import draw_array, draw_tissue, write_slide
from tests.outputs import hash_results
from tests.peers import ask_peer
from wsiparse.annotations.asap import read_asap
from wsiparse.cli import main
from wsiparse.errors import DamagedError, InputError, SlideError
from wsiparse.files import write_json
from wsiparse.runs.export import FORMATS, Request, export_run
from wsiparse.runs.results import Results
from wsiparse.slides.open import describe

SLIDES = ("a", "b")
PASSES = {"0.5um": "tone", "1um": "hue"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("run")
    (folder / "slides").mkdir()
    for seed, name in enumerate(SLIDES):
        write_slide(folder / "slides" / f"{name}.svs", (401, 303), 0.5, draw_array(draw_tissue(401, 303, seed)))
    model = "tests.tiny:build_tone"
    return wsiparse.run(folder / "slides", folder / "out", model=model, tissue=False, cluster="serial", block_tiles=2)


def export(results: Results, format: str, folder: Path) -> list[str]:
    paths = list(export_run(results.run, Request(format, folder=folder)))
    assert all(path.exists() for path in paths)
    return [path.name for path in paths]


def test_geojson_is_the_runs_own(results: Results, tmp_path: Path) -> None:
    assert export(results, "geojson", tmp_path) == ["a.geojson.gz", "b.geojson.gz"]
    own = (results.run.folder("b") / "annotations.geojson.gz").read_bytes()
    assert (tmp_path / "b.geojson.gz").read_bytes() == own


def test_the_qupath_folder_holds_the_same_features(results: Results, tmp_path: Path) -> None:
    assert export(results, "qupath", tmp_path) == ["a-qupath", "b-qupath"]
    with gzip.open(results.run.folder("a") / "annotations.geojson.gz") as own:
        expected = json.load(own)["features"]
    with gzip.open(tmp_path / "a-qupath" / "objects-0001.geojson.gz") as file:
        assert json.load(file)["features"] == expected
    assert f"all {len(expected)} objects imported" in (tmp_path / "a-qupath" / "import_wsiparse.groovy").read_text()


def test_asap_encloses_the_same_areas(results: Results, tmp_path: Path) -> None:
    assert export(results, "asap", tmp_path) == ["a.xml", "b.xml"]
    slide = describe(results.run.rows[0].slide, id="a")
    written, table = read_asap(tmp_path / "a.xml", slide), results.annotations("a")
    areas = {name: table.geometry[table.target == name].area.sum() for name in set(table.target)}
    found = {name: sum(a.polygon.area for a in written.annotations if a.target == name) for name in areas}
    assert found == pytest.approx(areas, rel=1e-6)
    assert measure_asap(tmp_path / "a.xml") == pytest.approx(areas, rel=1e-6)


def measure_asap(path: Path) -> dict[str, float]:
    """Areas by group from the XML alone, by the shoelace formula."""
    areas: dict[str, float] = defaultdict(float)
    for annotation in ElementTree.parse(path).iterfind("./Annotations/Annotation[@Type='Polygon']"):
        corners = [
            [float(corner.get(key, "")) for key in ("Order", "X", "Y")] for corner in annotation.iter("Coordinate")
        ]
        _, x, y = np.array(sorted(corners)).T
        areas[annotation.get("PartOfGroup", "")] += abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2
    return areas


def test_tables_have_the_runs_rows(results: Results, tmp_path: Path) -> None:
    assert export(results, "csv", tmp_path) == ["a.csv", "b.csv"]
    for name in SLIDES:
        own = results.annotations(name)
        table = pd.read_csv(tmp_path / f"{name}.csv")
        assert list(table.id) == list(own.id)
        assert list(table.area_um2) == pytest.approx(list(own.area_um2), abs=1e-4)
        assert list(table.runner_up.fillna("")) == list(own.runner_up.fillna(""))


def test_the_store_has_the_runs_objects(results: Results, tmp_path: Path) -> None:
    assert export(results, "annotation-store", tmp_path) == ["a.db", "b.db"]
    with closing(sqlite3.connect(tmp_path / "a.db")) as database:
        keys = [key for (key,) in database.execute("SELECT key FROM annotations ORDER BY id")]
    assert keys == list(results.annotations("a").id)


def test_coco_holds_both_slides(results: Results, tmp_path: Path) -> None:
    assert export(results, "coco", tmp_path) == ["coco.json"]
    document = json.loads((tmp_path / "coco.json").read_text())
    names = {category["id"]: category["name"] for category in document["categories"]}
    for image in document["images"]:
        own = results.annotations(image["slide"])
        entries = [entry for entry in document["annotations"] if entry["image_id"] == image["id"]]
        assert [names[entry["category_id"]] for entry in entries] == list(own.target)
        assert [entry["area"] for entry in entries] == pytest.approx(list(own.geometry.area), abs=0.01)
    assert [image["file_name"] for image in document["images"]] == ["a.svs", "b.svs"]


def test_maps_hold_the_runs_pixels(results: Results, tmp_path: Path) -> None:
    zarrs = export(results, "ome-zarr-0.4", tmp_path)
    tiffs = export(results, "ome-tiff", tmp_path)
    assert zarrs == [f"{slide}-{name}.ome.zarr" for slide in SLIDES for name in PASSES]
    assert tiffs == [f"{slide}-{name}-{group}.ome.tiff" for slide in SLIDES for name, group in PASSES.items()]
    dark = np.asarray(results.probability("dark", "a"))
    assert np.array_equal(np.asarray(zarr.open_array(tmp_path / "a-0.5um.ome.zarr" / "0", mode="r")[0]), dark)
    codes = tifffile.imread(tmp_path / "a-0.5um-tone.ome.tiff")
    assert np.array_equal(codes == 1, dark >= 153)


READ_SPATIALDATA = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import spatialdata
store = spatialdata.read_zarr(sys.argv[1])
mean = float(store["0.5um"].sel(c="dark").values.mean())
codes = int((store["1um-hue"].values == 1).sum())
extents = {name: spatialdata.get_extent(store[name])["x"] for name in ("0.5um", "1um-hue", "outlines")}
print(json.dumps([mean, codes, extents, list(store.shapes["outlines"].id), list(store.coordinate_systems)]))
"""


@pytest.mark.peers
def test_spatialdata_opens_the_store_in_pixels_of_the_slide(results: Results, tmp_path: Path) -> None:
    assert export(results, "spatialdata", tmp_path) == ["a.spatialdata.zarr", "b.spatialdata.zarr"]
    read = ask_peer("spatialdata", READ_SPATIALDATA, str(tmp_path / "a.spatialdata.zarr"))
    mean, codes, extents, ids, systems = read
    assert mean == pytest.approx(np.asarray(results.probability("dark", "a")).mean())
    assert codes == int((np.asarray(results.probability("red", "a")) >= 128).sum())
    assert extents["0.5um"] == [0, 401]
    assert extents["1um-hue"] == [0, 402]  # the last pixel of a coarse map reaches beyond the slide
    low, high = extents["outlines"]
    assert 0 <= low < high <= 401
    assert ids == list(results.annotations("a").id)
    assert systems == ["global"]


def test_the_command_writes_into_the_run_and_a_new_start_removes_it(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide = Path(results.run.rows[0].slide)
    command = ["run", str(slide), "-o", str(tmp_path / "out"), "--model", "tests.tiny:build_tone", "--no-tissue"]
    command += ["--cluster", "serial", "--targets", "dark"]
    assert main(command) == 0
    assert main(["export", str(tmp_path / "out"), "--format", "csv", "--slide", "a"]) == 0
    assert f"written: {tmp_path / 'out/export/csv/a.csv'}" in capsys.readouterr().out
    assert main([*command, "--overwrite"]) == 0
    assert not (tmp_path / "out/export").exists()


def test_only_qupath_and_coco_ask_for_the_slides_file(results: Results, tmp_path: Path) -> None:
    shutil.copytree(results.run.path, tmp_path / "moved")
    run = wsiparse.open_run(tmp_path / "moved").run
    manifest = tmp_path / "moved" / "slides.csv"
    manifest.write_text(manifest.read_text().replace(".svs", ".gone.svs"))
    for format in FORMATS:
        request, here = Request(format, "a", tmp_path / format), Request(format, "a", tmp_path / f"{format} here")
        if format in {"qupath", "coco"}:
            with pytest.raises(SlideError, match=r"a\.gone\.svs"):
                list(export_run(run, request))
        else:
            assert len(list(export_run(run, request))) == len(list(export_run(results.run, here)))
    for format in ("csv", "annotation-store", "asap"):
        assert hash_results(tmp_path / format) == hash_results(tmp_path / f"{format} here")


@pytest.mark.parametrize("format", [name for name in FORMATS if name.startswith("ome")])
def test_a_level_that_is_not_there_is_refused(results: Results, tmp_path: Path, format: str) -> None:
    with pytest.raises(InputError, match="levels 0 to 0"):
        list(export_run(results.run, Request(format, "a", tmp_path, level=4)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--format", "docx"], "format 'docx': expected one of geojson, qupath"),
        (["--format", "csv", "--slide", "c"], "no slide 'c'"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(
    results: Results, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert main(["export", str(results.run.path), *arguments]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_a_run_without_a_finished_slide_is_refused(results: Results, tmp_path: Path) -> None:
    for name in ("run.json", "slides.csv"):
        (tmp_path / name).write_bytes((results.run.path / name).read_bytes())
    with pytest.raises(InputError, match="no slide is done, nothing to export"):
        export_run(wsiparse.open_run(tmp_path).run, Request("csv"))


def test_a_slide_without_tissue_is_refused_as_what_it_is(results: Results, tmp_path: Path) -> None:
    shutil.copytree(results.run.path, tmp_path / "out")
    write_json(tmp_path / "out/a/summary.json", {**results.summary("a"), "state": "empty"})
    with pytest.raises(InputError, match="slide 'a' is empty, nothing to export"):
        export_run(wsiparse.open_run(tmp_path / "out").run, Request("csv", "a"))


def test_slides_that_are_not_done_are_said_to_be_left_out(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(results.run.path, tmp_path / "out")
    command = ["export", str(tmp_path / "out"), "--format", "coco"]
    assert main(command) == 0
    assert "left out" not in capsys.readouterr().out
    (tmp_path / "out/a/summary.json").unlink()
    assert main(command) == 0
    assert "left out: 1 pending" in capsys.readouterr().out
    assert main([*command, "--slide", "b"]) == 0
    assert "left out" not in capsys.readouterr().out


@pytest.mark.parametrize(("format", "written"), [("qupath", "b-qupath"), ("coco", "coco.json")])
def test_a_slide_whose_file_is_gone_is_named_and_the_others_are_written(
    results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str], format: str, written: str
) -> None:
    shutil.copytree(results.run.path, tmp_path / "moved")
    manifest = tmp_path / "moved" / "slides.csv"
    manifest.write_text(manifest.read_text().replace("a.svs", "a.gone.svs"))
    command = ["export", str(tmp_path / "moved"), "--format", format, "--to", str(tmp_path / "to")]
    assert main(command) == 3
    printed = capsys.readouterr().out
    assert f"written: {tmp_path / 'to' / written}" in printed
    assert "not exported: a: " in printed
    assert [path.name for path in (tmp_path / "to").iterdir()] == [written]
    if format == "coco":
        assert [image["slide"] for image in json.loads((tmp_path / "to/coco.json").read_text())["images"]] == ["b"]
    assert main([*command, "--slide", "a"]) == 2
    assert "a.gone.svs" in capsys.readouterr().err


MAPPED = ("ome-zarr-0.4", "ome-tiff", "spatialdata")


@pytest.fixture
def damaged(results: Results, tmp_path: Path) -> Results:
    """The run, with nothing of slide a but its summary."""
    shutil.copytree(results.run.path, tmp_path / "damaged")
    folder = tmp_path / "damaged/a"
    shutil.rmtree(folder / "parse.zarr")
    (folder / "annotations.geojson.gz").unlink()
    (folder / "annotations.parquet").write_bytes(b"PAR1 and no more")
    return wsiparse.open_run(tmp_path / "damaged")


@pytest.mark.parametrize("format", FORMATS)
def test_a_slide_whose_results_are_damaged_is_named_and_the_others_are_written(
    damaged: Results, results: Results, tmp_path: Path, format: str
) -> None:
    refused: dict[str, Exception] = {}
    written = list(export_run(damaged.run, Request(format, folder=tmp_path / "to"), refused.__setitem__))
    (error,) = refused.values()
    assert isinstance(error, DamagedError)
    assert "run again" in str(error)
    assert "\n" not in str(error)
    whole = list(export_run(results.run, Request(format, "b", tmp_path / "whole")))
    assert [path.name for path in written] == [path.name for path in whole]


OUTLINED = ("qupath", "coco", "asap", "csv", "annotation-store", "spatialdata")


@pytest.mark.parametrize("format", OUTLINED)
def test_a_slide_whose_outlines_are_damaged_amid_is_named_and_the_others_are_written(
    results: Results, tmp_path: Path, format: str
) -> None:
    shutil.copytree(results.run.path, tmp_path / "amid")
    outlines = tmp_path / "amid/a/annotations.parquet"
    content = outlines.read_bytes()
    outlines.write_bytes(content[:4] + bytes(400) + content[404:])
    refused: dict[str, Exception] = {}
    run = wsiparse.open_run(tmp_path / "amid").run
    written = list(export_run(run, Request(format, folder=tmp_path / "to"), refused.__setitem__))
    whole = list(export_run(results.run, Request(format, "b", tmp_path / "whole")))
    assert isinstance(refused.pop("a"), DamagedError)
    assert not refused
    assert [path.name for path in written] == [path.name for path in whole]


@pytest.mark.parametrize("damage", [lambda whole: whole[:-30], lambda whole: whole[:200] + b"oh no" + whole[205:]])
def test_outlines_that_are_not_whole_are_not_copied(
    results: Results, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    shutil.copytree(results.run.path, tmp_path / "cut")
    outlines = tmp_path / "cut/a/annotations.geojson.gz"
    outlines.write_bytes(damage(outlines.read_bytes()))
    refused: dict[str, Exception] = {}
    request = Request("geojson", folder=tmp_path / "to")
    written = list(export_run(wsiparse.open_run(tmp_path / "cut").run, request, refused.__setitem__))
    assert [path.name for path in written] == ["b.geojson.gz"]
    assert isinstance(refused["a"], DamagedError)
    assert "annotations.geojson.gz: " in str(refused["a"])


@pytest.mark.parametrize("format", ["ome-zarr-0.4", "ome-tiff"])
def test_a_slide_one_shard_of_which_is_damaged_is_named_and_the_others_are_written(
    results: Results, tmp_path: Path, format: str
) -> None:
    shutil.copytree(results.run.path, tmp_path / "cut")
    for shard in (path for path in (tmp_path / "cut/a/parse.zarr").rglob("c/**/*") if path.is_file()):
        shard.write_bytes(shard.read_bytes()[:9])
    refused: dict[str, Exception] = {}
    run = wsiparse.open_run(tmp_path / "cut").run
    written = list(export_run(run, Request(format, folder=tmp_path / "to"), refused.__setitem__))
    (error,) = refused.values()
    assert isinstance(error, DamagedError)
    assert "damaged shard" in str(error)
    assert written
    assert all(path.name.startswith("b") for path in written)


@pytest.mark.parametrize("format", [format for format in FORMATS if format not in MAPPED])
def test_outlines_are_exported_where_maps_were_deleted_to_save_room(
    results: Results, tmp_path: Path, format: str
) -> None:
    shutil.copytree(results.run.path, tmp_path / "small")
    shutil.rmtree(tmp_path / "small/a/parse.zarr")
    paths = [
        list(export_run(run, Request(format, "a", tmp_path / name)))
        for name, run in (("less", wsiparse.open_run(tmp_path / "small").run), ("whole", results.run))
    ]
    assert len(paths[0]) == len(paths[1]) == 1
    assert hash_results(tmp_path / "less") == hash_results(tmp_path / "whole")


def test_a_slide_whose_maps_have_no_such_level_is_named_and_the_others_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "slides").mkdir()
    for name, size in (("small", (201, 103)), ("large", (1301, 203))):
        write_slide(tmp_path / "slides" / f"{name}.svs", size, 0.5, draw_array(draw_tissue(*size, 1)))
    model = "tests.tiny:build_tone"
    wsiparse.run(tmp_path / "slides", tmp_path / "out", model=model, targets=["dark"], tissue=False, cluster="serial")
    command = ["export", str(tmp_path / "out"), "--format", "ome-tiff", "--to", str(tmp_path / "to"), "--level"]
    assert main([*command, "1"]) == 3
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["large-0.5um-tone.ome.tiff"]
    assert "not exported: small: level 1: " in capsys.readouterr().out
    assert main([*command, "1", "--slide", "small"]) == 2
    assert main([*command, "-1"]) == 2
    assert "level -1: expected 0, the finest, or more" in capsys.readouterr().err

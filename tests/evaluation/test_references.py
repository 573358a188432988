from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from shapely import box

from tests.evaluation.drawing import NAMES, draw_slide, write_features
from wsiparse.errors import ReferenceFileError
from wsiparse.evaluation.references import ReferenceFile, find_references, read_reference

SLIDE = draw_slide()
GRID = SLIDE.grid


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


def test_files_are_found_by_the_slide_they_are_named_after(tmp_path: Path) -> None:
    touch(tmp_path, "a.geojson", "b.geojson.gz", "c.json", "d.png", "e.tif", "f.webp", "g__gland.png", "g__tumour.tif")
    touch(tmp_path, "i.xml", "j__tumour.geojson")
    touch(tmp_path, "h.txt", "aa.geojson", "notes.json")
    found = find_references(tmp_path, list("abcdefghij"))
    assert {name: [(file.path.name, file.target) for file in files] for name, files in found.items()} == {
        "a": [("a.geojson", "")],
        "b": [("b.geojson.gz", "")],
        "c": [("c.json", "")],
        "d": [("d.png", "")],
        "e": [("e.tif", "")],
        "f": [("f.webp", "")],
        "g": [("g__gland.png", "gland"), ("g__tumour.tif", "tumour")],
        "i": [("i.xml", "")],
        "j": [("j__tumour.geojson", "tumour")],
    }


def test_a_json_beside_a_mask_is_its_legend(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a.json", "b.json")
    found = find_references(tmp_path, ["a", "b"])
    assert [file.path.name for file in found["a"]] == ["a.png"]
    assert [file.path.name for file in found["b"]] == ["b.json"]


@pytest.mark.parametrize("name", ["s1.ome.tif", "s1.OME.TIFF", "s1__gland.ome.tiff"])
def test_masks_named_as_exports_are_found(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    (file,) = find_references(tmp_path, ["s1"])["s1"]
    assert (file.path.name, file.target) == (name, "gland" if "gland" in name else "")


def test_the_mask_of_an_ome_tiff_has_its_name_and_its_legend(tmp_path: Path) -> None:
    values = np.zeros((300, 400), np.uint8)
    values[:100] = 7
    tifffile.imwrite(tmp_path / "s1.ome.tif", values, ome=True)
    for legend in ("s1.json", "s1.ome.json"):
        (tmp_path / legend).write_text('{"7": "gland"}')
        (files,) = {find_references(tmp_path, [name])[name] for name in ("s1", "s1.ome")}
        assert read_reference(files, SLIDE, NAMES).draw("gland", GRID.region, GRID).sum() == 100 * 400
        (tmp_path / legend).unlink()


def test_ids_with_dots_and_underscores_are_told_apart(tmp_path: Path) -> None:
    touch(tmp_path, "TCGA-AA.01Z__gland.png", "TCGA-AA.geojson", "x_1.geojson")
    found = find_references(tmp_path, ["TCGA-AA", "TCGA-AA.01Z", "x", "x_1"])
    assert {name: len(files) for name, files in found.items()} == {"TCGA-AA": 1, "TCGA-AA.01Z": 1, "x_1": 1}


def test_a_folder_without_any_match_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "other.geojson")
    with pytest.raises(ReferenceFileError, match=r"no reference for any of 2 slides; expected files such as a.geojson"):
        find_references(tmp_path, ["a", "b"])
    with pytest.raises(ReferenceFileError, match="no such folder"):
        find_references(tmp_path / "missing", ["a"])


def test_outlines_and_masks_of_a_slide_add_up(tmp_path: Path) -> None:
    outlines = write_features(tmp_path / "s1.geojson", [(box(0, 0, 10, 10), "gland"), (box(0, 50, 9, 60), "Ignore*")])
    values = np.zeros((300, 400), np.uint8)
    values[:10, 5:20] = 255
    Image.fromarray(values).save(tmp_path / "s1__gland.png")
    reference = read_reference(find_references(tmp_path, ["s1"])["s1"], SLIDE, NAMES)
    assert reference.draw("gland", GRID.region, GRID).sum() == 200
    assert reference.draw_ignored(GRID.region, GRID).sum() == 90
    assert reference.covers("tumour"), "outlines speak for every target"
    assert outlines.exists()


def test_masks_speak_only_for_the_targets_they_name(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((300, 400), np.uint8)).save(tmp_path / "s1__gland.png")
    reference = read_reference([ReferenceFile(tmp_path / "s1__gland.png", "gland")], SLIDE, NAMES)
    assert reference.covers("gland")
    assert not reference.covers("tumour")


def test_instances_are_read_as_told(tmp_path: Path) -> None:
    values = np.zeros((300, 400), np.uint8)
    values[5:8, 5:8] = np.arange(1, 10).reshape(3, 3)
    Image.fromarray(values).save(tmp_path / "nuclei.png")
    file = ReferenceFile(tmp_path / "nuclei.png", "gland", instances=True)
    assert read_reference([file], SLIDE, NAMES).draw("gland", GRID.region, GRID).sum() == 9


def test_objects_of_several_files_keep_numbers_of_their_own(tmp_path: Path) -> None:
    values = np.zeros((300, 400), np.uint8)
    values[:10, 20:40] = np.repeat([1, 2], 10)
    Image.fromarray(values).save(tmp_path / "numbers.png")
    outlines = write_features(tmp_path / "s1.geojson", [(box(0, 0, 20, 10), "gland"), (box(40, 0, 50, 10), "gland")])
    files = [ReferenceFile(outlines), ReferenceFile(tmp_path / "numbers.png", "gland", instances=True)]
    numbers = read_reference(files, SLIDE, NAMES).number_objects("gland", GRID.region, GRID)
    assert numbers is not None
    assert len({int(numbers[5, column]) for column in (5, 25, 35, 45)} - {0}) == 4
    files.append(ReferenceFile(tmp_path / "numbers.png", "gland"))
    Image.fromarray((values > 0) * np.uint8(255)).save(tmp_path / "numbers.png")
    assert read_reference(files[::2], SLIDE, NAMES).number_objects("gland", GRID.region, GRID) is None


def test_other_kinds_of_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReferenceFileError, match=r"not a kind of reference that can be read; expected \.geojson"):
        read_reference([ReferenceFile(tmp_path / "s1.docx")], SLIDE, NAMES)

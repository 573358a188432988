from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from shapely import Point, Polygon, box

from tests.evaluation.drawing import NAMES, ONTOLOGY, draw_slide, feature, write_features
from wsiparse.errors import ReferenceFileError
from wsiparse.evaluation import references
from wsiparse.evaluation.names import TargetNames
from wsiparse.evaluation.references import ReferenceFile, find_references, list_unused, read_reference

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


def test_an_object_that_two_files_hold_counts_once(tmp_path: Path) -> None:
    left, right = box(0, 0, 40, 60), box(30, 0, 64, 60)
    write_features(tmp_path / "s1.geojson", [(left, "gland"), (right, "gland")])
    write_features(tmp_path / "s1.json", [(right, "gland"), (right, "tumour")])
    reference = read_reference([ReferenceFile(tmp_path / f"s1{end}") for end in (".geojson", ".json")], SLIDE, NAMES)
    objects = reference.list_objects("gland")
    assert objects is not None
    assert [polygon.bounds[0] for polygon in objects] == [0, 30]


def test_a_file_of_frames_beside_others_says_where_to_compare_and_of_no_target_that_it_is_absent(
    tmp_path: Path,
) -> None:
    Image.fromarray(np.full((300, 400), 255, np.uint8)).save(tmp_path / "s1__gland.png")
    write_features(tmp_path / "s1.geojson", [(box(0, 0, 50, 300), "Region*"), (box(0, 0, 9, 9), "Ignore*")])
    files = [ReferenceFile(tmp_path / "s1__gland.png", "gland"), ReferenceFile(tmp_path / "s1.geojson")]
    framed, alone = read_reference(files, SLIDE, NAMES), read_reference(files[1:], SLIDE, NAMES)
    assert [framed.covers(target) for target in ("gland", "tumour")] == [True, False]
    assert framed.draw("gland", GRID.region, GRID).all()
    assert framed.draw_ignored(GRID.region, GRID)[:, 50:].all()
    assert all(alone.covers(target) for target in ("gland", "tumour"))  # looked for in the frames, and not there


def test_other_kinds_of_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReferenceFileError, match=r"not a kind of reference that can be read; expected \.geojson"):
        read_reference([ReferenceFile(tmp_path / "s1.docx")], SLIDE, NAMES)


def test_a_file_goes_by_another_name_of_its_slide_unless_that_is_an_id(tmp_path: Path) -> None:
    touch(tmp_path, "patient 01.geojson", "Patient (3)__gland.png", "b.geojson")
    found = find_references(tmp_path, ["patient-01", "Patient-3", "b"], {"patient 01": "patient-01", "b": "Patient-3"})
    assert {name: [file.path.name for file in files] for name, files in found.items()} == {
        "patient-01": ["patient 01.geojson"],
        "b": ["b.geojson"],
    }
    found = find_references(tmp_path, ["Patient-3"], {"Patient (3)": "Patient-3"})
    assert [file.target for file in found["Patient-3"]] == ["gland"]


def test_a_file_belongs_to_the_slide_of_the_longest_name(tmp_path: Path) -> None:
    touch(tmp_path, "a__b__gland.png", "a__tumour.png")
    found = find_references(tmp_path, ["a", "a__b"])
    assert [found[name][0].target for name in ("a", "a__b")] == ["tumour", "gland"]
    assert [len(files) for files in found.values()] == [1, 1]


def test_files_that_belong_to_no_slide_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a.geojson", "a_gland.geojson", "A.GEOJSON", "b.png", "b.json", "notes.txt", "._a.geojson", "c.png")
    found = find_references(tmp_path, ["a", "c"])
    assert [file.name for file in list_unused(tmp_path, found)] == ["A.GEOJSON", "a_gland.geojson", "b.png"]


def test_files_are_found_in_the_time_of_one_look_at_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"s{n}" for n in range(60)]
    touch(tmp_path, *(f"{name}.geojson" for name in names))
    asked: list[str] = []
    strip = references._strip

    def count(file: Path, suffixes: Iterable[str]) -> list[str]:
        asked.append(file.name)
        return strip(file, suffixes)

    monkeypatch.setattr(references, "_strip", count)
    assert len(find_references(tmp_path, names)) == 60
    assert len(asked) == 2 * 60, "once for what it is named after, once for the masks among them"


@pytest.mark.parametrize("drawn", [[(box(0, 0, 9, 9), None)], [(Point(5, 5), "gland")], [(box(0, 0, 9, 9), "Fold*")]])
def test_a_file_that_shows_nothing_usable_speaks_for_no_target(
    tmp_path: Path, drawn: list[tuple[Any, str | None]]
) -> None:
    path = write_features(tmp_path / "s1.geojson", drawn)
    assert not read_reference([ReferenceFile(path)], SLIDE, NAMES).covers("gland")


@pytest.mark.parametrize("drawn", [[], [(box(0, 0, 9, 9), "Stroma")], [(box(0, 0, 9, 9), "Region*")]])
def test_a_file_without_objects_or_with_others_says_that_a_target_is_not_there(
    tmp_path: Path, drawn: list[tuple[Any, str | None]]
) -> None:
    path = write_features(tmp_path / "s1.geojson", drawn)
    names = TargetNames(ONTOLOGY, NAMES.evaluated, {"Stroma": ""})
    assert read_reference([ReferenceFile(path)], SLIDE, names).covers("gland")


def test_what_was_left_out_or_mended_is_told_and_its_class_must_be_known(tmp_path: Path) -> None:
    bow = Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    path = write_features(tmp_path / "s1.geojson", [(bow, "gland"), (Point(5, 5), "gland"), (Point(6, 6), None)])
    assert read_reference([ReferenceFile(path)], SLIDE, NAMES).remarks == (
        "objects left out as points, lines, tiles or without an area: 2",
        "outlines mended that crossed themselves: 1",
    )
    write_features(path, [(bow, "gland"), (Point(5, 5), "Mitosis")])
    with pytest.raises(ReferenceFileError, match="'Mitosis' are no targets"):
        read_reference([ReferenceFile(path)], SLIDE, NAMES)


def test_what_lies_under_no_class_or_beyond_the_slide_is_told(tmp_path: Path) -> None:
    inside, beyond = box(0, 0, 9, 9), box(500, 0, 509, 9)
    drawn = [(inside, "gland"), (beyond, "gland"), (inside, None), (inside, "Ignore*")]
    reference = read_reference([ReferenceFile(write_features(tmp_path / "s1.geojson", drawn))], SLIDE, NAMES)
    assert reference.remarks == (
        "outlines left out that lie beyond the slide: 1",
        "outlines without a class, under which nothing is compared: 1",
    )
    objects = reference.list_objects("gland")
    assert objects is not None
    assert objects.tolist() == [inside]


def test_cells_of_qupath_are_said_to_be_compared_as_cells(tmp_path: Path) -> None:
    nucleus = {"type": "Polygon", "coordinates": [[[2, 2], [4, 2], [4, 4], [2, 2]]]}
    cell = {**feature(box(0, 0, 9, 9), "gland"), "nucleusGeometry": nucleus}
    (tmp_path / "s1.geojson").write_text(json.dumps([cell]))
    (remark,) = read_reference([ReferenceFile(tmp_path / "s1.geojson")], SLIDE, NAMES).remarks
    assert "the outline of the cell, not of its nucleus: 1" in remark

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import shapely

from wsiparse.annotations.geojson import Labels, read_geojson
from wsiparse.errors import ReferenceFileError
from wsiparse.geometry import Grid, Region
from wsiparse.slides.slide import Slide

SLIDE = Slide("s1", "s1.svs", (Grid(1000, 800, 0.5),), "manifest")
CROPPED = Slide("s1", "s1.mrxs", (Grid(1000, 800, 0.5),), "manifest", Region(100, 50, 600, 500))
SQUARE = {"type": "Polygon", "coordinates": [[[10, 10], [20, 10], [20, 20], [10, 20], [10, 10]]]}
FAR = {"type": "Polygon", "coordinates": [[[50, 50], [60, 50], [60, 60], [50, 60], [50, 50]]]}
TUMOR = {"name": "Tumor", "color": [200, 0, 0]}


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": {"objectType": "annotation", **properties}}


def read(tmp_path: Path, document: Any, slide: Slide = SLIDE, name: str = "labels.geojson") -> Labels:
    path = tmp_path / name
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return read_geojson(path, slide)


@pytest.mark.parametrize(
    "document",
    [
        {"type": "FeatureCollection", "features": [feature(SQUARE, classification=TUMOR)]},
        [feature(SQUARE, classification=TUMOR)],
        feature(SQUARE, classification=TUMOR),
        feature(SQUARE, classification="Tumor"),
        feature(SQUARE, classification={"name": "Tumor", "colorRGB": -3670016}),
        feature(SQUARE, classification={"names": ["Tumor"], "color": [200, 0, 0]}),
        [[feature(SQUARE, classification=TUMOR)]],
    ],
)
@pytest.mark.parametrize("name", ["labels.geojson", "labels.json", "labels.geojson.gz"])
def test_every_container_and_class_form_reads_the_same(tmp_path: Path, document: Any, name: str) -> None:
    labels = read(tmp_path, document, name=name)
    (annotation,) = labels.annotations
    assert annotation.target == "Tumor"
    assert annotation.polygon.equals(shapely.box(10, 10, 20, 20))
    assert annotation.area_um2 == pytest.approx(25.0)
    assert annotation.probability is None
    assert (labels.skipped, labels.repaired) == (0, 0)


@pytest.mark.parametrize("classification", [None, {}, {"name": None}, {"names": []}, 7])
def test_a_missing_class_is_empty(tmp_path: Path, classification: Any) -> None:
    labels = read(tmp_path, [feature(SQUARE, classification=classification), feature(SQUARE), SQUARE])
    assert [a.target for a in labels.annotations] == ["", "", ""]


def test_derived_classes_are_joined_as_qupath_shows_them(tmp_path: Path) -> None:
    labels = read(tmp_path, feature(SQUARE, classification={"names": ["Tumor", "Positive"], "color": [1, 2, 3]}))
    assert labels.annotations[0].target == "Tumor: Positive"


def test_geometry_collections_and_multipolygons(tmp_path: Path) -> None:
    multi = {"type": "MultiPolygon", "coordinates": [SQUARE["coordinates"], FAR["coordinates"]]}
    mixed = {"type": "GeometryCollection", "geometries": [SQUARE, {"type": "Point", "coordinates": [1, 1]}, FAR]}
    single = {"type": "MultiPolygon", "coordinates": [SQUARE["coordinates"]]}
    labels = read(tmp_path, [feature(geometry) for geometry in (multi, mixed, single)])
    assert [a.polygon.geom_type for a in labels.annotations] == ["MultiPolygon", "MultiPolygon", "Polygon"]
    assert [a.polygon.area for a in labels.annotations] == [200, 200, 100]


def test_points_and_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    shapes: list[Any] = [
        {"type": "Point", "coordinates": [1, 2]},
        {"type": "MultiPoint", "coordinates": [[1, 2]]},
        {"type": "LineString", "coordinates": [[1, 2], [3, 4]]},
        {"type": "GeometryCollection", "geometries": []},
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": [[[5, 5], [5, 5], [5, 5], [5, 5]]]},
        None,
    ]
    labels = read(tmp_path, [feature(SQUARE), *(feature(shape) for shape in shapes)])
    assert (len(labels.annotations), labels.skipped, labels.repaired) == (1, 7, 0)


def test_tiles_and_cores_are_no_annotations_but_their_children_are(tmp_path: Path) -> None:
    core = {**feature(FAR, childObjects=[feature(SQUARE, classification=TUMOR)])}
    core["properties"]["objectType"] = "tmaCore"
    tile = {"type": "Feature", "geometry": FAR, "properties": {"object_type": "tile"}}
    labels = read(tmp_path, [core, tile])
    assert [a.target for a in labels.annotations] == ["Tumor"]
    assert labels.skipped == 2


@pytest.mark.parametrize(
    "old",
    [
        *({"id": kind} for kind in ("PathTileObject", "TMACoreObject", "PathRootObject")),  # QuPath 0.2
        {"properties": {"object_type": "tma_core"}},  # QuPath 0.3
    ],
)
def test_tiles_and_cores_of_earlier_versions_are_no_annotations_either(tmp_path: Path, old: dict[str, Any]) -> None:
    drawn = {**feature(SQUARE, classification=TUMOR), "id": "PathAnnotationObject"}
    labels = read(tmp_path, [{"type": "Feature", "geometry": FAR, "properties": {}, **old}, drawn])
    assert [a.target for a in labels.annotations] == ["Tumor"]
    assert labels.skipped == 1


def test_an_ellipse_is_redrawn_from_its_box(tmp_path: Path) -> None:
    labels = read(tmp_path, feature({**SQUARE, "isEllipse": True}))
    assert labels.annotations[0].polygon.area == pytest.approx(78.54, rel=1e-3)
    assert labels.annotations[0].polygon.bounds == pytest.approx((10, 10, 20, 20))


def test_crossing_outlines_are_repaired_and_counted(tmp_path: Path) -> None:
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]]}
    shifted = [[[15, 10], [25, 10], [25, 20], [15, 20]]]  # overlaps the square, and its ring is not closed
    overlap = {"type": "MultiPolygon", "coordinates": [SQUARE["coordinates"], shifted]}
    labels = read(tmp_path, [feature(bow_tie), feature(overlap), feature(SQUARE)])
    assert labels.repaired == 2
    assert all(a.polygon.is_valid for a in labels.annotations)
    assert [a.polygon.area for a in labels.annotations] == pytest.approx([50, 150, 100])


def test_files_of_qupath_are_moved_by_the_bounds(tmp_path: Path) -> None:
    (annotation,) = read(tmp_path, feature(SQUARE), CROPPED).annotations
    assert annotation.polygon.equals(shapely.box(110, 60, 120, 70))


def test_a_file_that_says_level_0_is_not_moved(tmp_path: Path) -> None:
    document = {"type": "FeatureCollection", "wsiparse": {"coordinate_space": "level0"}, "features": [feature(SQUARE)]}
    (annotation,) = read(tmp_path, document, CROPPED).annotations
    assert annotation.polygon.equals(shapely.box(10, 10, 20, 20))


def test_a_zip_is_read_member_by_member(tmp_path: Path) -> None:
    path = tmp_path / "labels.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("b.geojson", json.dumps(feature(FAR, classification="Stroma")))
        archive.writestr("a.json", json.dumps([feature(SQUARE, classification="Tumor")]))
        archive.writestr("__MACOSX/a.json", b"\x00\x05")
        archive.writestr("notes.txt", "no labels")
    assert [a.target for a in read_geojson(path, SLIDE).annotations] == ["Tumor", "Stroma"]


def test_bare_nan_among_measurements_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    text = json.dumps(feature(SQUARE, measurements={"x": float("nan")})).encode("utf-8-sig")
    assert len(read(tmp_path, text).annotations) == 1


def test_measurements_of_old_qupath_are_a_list(tmp_path: Path) -> None:
    measurements = [{"name": "Mean probability", "value": 0.75}, {"name": "other", "value": "NaN"}]
    assert read(tmp_path, feature(SQUARE, measurements=measurements)).annotations[0].probability == 0.75


def nested(depth: int) -> bytes:
    return b'{"type":"GeometryCollection","geometries":[' * depth + b"]}" * depth


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" \n" * 2_000_000,
        b"slide;x;y\n1;2;3\n",
        json.dumps([feature(SQUARE)]).encode()[:-9],
        gzip.compress(json.dumps([feature(SQUARE)]).encode())[:-12],
        b"\x1f\x8bnot gzip at all",
        b"PK\x03\x04not a zip",
        b"42",
        b'{"type":"Topology"}',
        b'{"type":"FeatureCollection"}',
        b'{"type":"FeatureCollection","features":[7]}',
        json.dumps(feature({"type": "Curve", "coordinates": []})).encode(),
        json.dumps(feature("POLYGON ((0 0, 1 1))")).encode(),
        json.dumps(feature({"type": "Polygon", "coordinates": [[[0, 0], [1], [2, 2]]]})).encode(),
        json.dumps(feature({"type": "Polygon", "coordinates": [["a", "b", "c"]]})).encode(),
        json.dumps(feature({"type": "Polygon", "coordinates": [[[0, 0], [float("nan"), 1], [2, 2]]]})).encode(),
        json.dumps(feature({"type": "Polygon", "coordinates": [[[0, 0], [float("inf"), 1], [2, 2]]]})).encode(),
        json.dumps(feature({"type": "Polygon", "coordinates": None})).encode(),
        nested(5000),
    ],
)
def test_what_is_no_geojson_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ReferenceFileError) as caught:
        read(tmp_path, content)
    message = str(caught.value)
    assert "labels.geojson" in message
    assert "expected" in message
    assert "\n" not in message
    assert len(message) < 400


def test_a_zip_with_one_bad_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.geojson", json.dumps(feature(SQUARE)))
        archive.writestr("b.geojson", "{")
    with pytest.raises(ReferenceFileError, match=r"b\.geojson"):
        read_geojson(path, SLIDE)


def test_a_zip_without_labels_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "no labels")
    with pytest.raises(ReferenceFileError, match="inside"):
        read_geojson(path, SLIDE)
    with pytest.raises(ReferenceFileError, match="No such file"):
        read_geojson(tmp_path / "none.geojson", SLIDE)


HUGE = "9" * 400


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (json.dumps(feature(SQUARE, classification={"names": 5})), "names of a classification is int"),
        (json.dumps(feature(SQUARE, classification={"names": "Tumor"})), "names of a classification is str"),
        (json.dumps(feature(SQUARE)).replace("[10, 10]", f"[{HUGE}, 10]", 1), "are not pairs of numbers"),
        (json.dumps(feature(SQUARE, measurements={"x": 0})).replace('"x": 0', f'"x": {HUGE}'), "near feature 1"),
        (json.dumps(feature(SQUARE, measurements=[{"name": {}, "value": 1}])), "near feature 1"),
        (json.dumps(feature(SQUARE, objectType=["annotation"])), "near feature 1"),
        (json.dumps({**feature(SQUARE), "type": ["Feature"]}), "type ['Feature'] among the features"),
        (json.dumps(feature({**SQUARE, "type": ["Polygon"]})), "near feature 1"),
    ],
)
def test_json_of_odd_types_is_refused_in_one_line(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(ReferenceFileError) as caught:
        read(tmp_path, text.encode())
    message = str(caught.value)
    assert found in message
    assert "labels.geojson" in message
    assert "\n" not in message
    assert len(message) < 400


def test_classes_of_what_is_left_out_and_cells_with_a_nucleus_are_told(tmp_path: Path) -> None:
    point = feature({"type": "Point", "coordinates": [1, 2]}, classification="Mitosis")
    tile = feature(SQUARE, classification="Stroma")
    tile["properties"]["objectType"] = "tile"
    cell = {**feature(FAR, classification=TUMOR), "nucleusGeometry": SQUARE}
    labels = read(tmp_path, [point, tile, cell, feature(SQUARE, classification=TUMOR)])
    assert labels.skipped_classes == {"Mitosis", "Stroma"}
    assert (len(labels.annotations), labels.skipped, labels.cells) == (2, 2, 1)

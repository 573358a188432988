from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.annotations.masks import GLAND, NUCLEUS, TARGETS
from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.geojson import read_geojson
from wsiparse.annotations.qupath import SCRIPT, write_qupath
from wsiparse.errors import OutputError
from wsiparse.geometry import Grid, Region
from wsiparse.slides.slide import Slide

SLIDE = Slide("s1", "s1.svs", (Grid(1000, 800, 0.5),), "manifest")
CROPPED = Slide("o'Neil \\ 2", "s2.mrxs", (Grid(1000, 800, 0.5),), "manifest", Region(100, 50, 700, 600))


def draw_boxes(count: int) -> Iterator[Annotation]:
    for n in range(count):
        x, y = 110 + n % 30 * 10, 60 + n // 30 * 10
        yield Annotation(TARGETS[n % 2].name, shapely.box(x, y, x + 5, y + 6), 7.5, 0.5)


@settings(deadline=None, max_examples=25)
@given(count=st.integers(0, 40), size=st.integers(1, 15))
def test_every_object_is_in_one_file_and_the_script_knows_how_many(
    tmp_path_factory: pytest.TempPathFactory, count: int, size: int
) -> None:
    folder = tmp_path_factory.mktemp("qupath") / "s1"
    counts = write_qupath(draw_boxes(count), folder, SLIDE, TARGETS, size)
    full, rest = divmod(count, size)
    assert list(counts.values()) == [size] * full + [rest] * bool(rest)
    found = [entry for name in counts for entry in read_geojson(folder / name, SLIDE).annotations]
    assert [(entry.target, entry.polygon.bounds) for entry in found] == [
        (entry.target, entry.polygon.bounds) for entry in draw_boxes(count)
    ]
    stated = re.findall(r"'(objects-\d+\.geojson\.gz)': (\d+)", (folder / SCRIPT).read_text())
    assert {name: int(number) for name, number in stated} == counts
    assert {path.name for path in folder.iterdir()} == {SCRIPT, *counts}


def test_the_script_expects_the_size_that_qupath_shows(tmp_path: Path) -> None:
    write_qupath(draw_boxes(3), tmp_path / "a", SLIDE, TARGETS)
    write_qupath(draw_boxes(3), tmp_path / "b", CROPPED, TARGETS)
    full, cropped = ((tmp_path / name / SCRIPT).read_text() for name in ("a", "b"))
    assert "def width = 1000\ndef height = 800\n" in full
    assert "def width = 700\ndef height = 600\n" in cropped
    assert r"def slide = 'o\'Neil \\ 2'" in cropped
    assert "all 3 objects imported" in cropped
    for name in ("importObjectsFromFile", "getAnnotationObjects", "getDetectionObjects", "qupath.script.file"):
        assert name in full
    assert all(full.count(left) == full.count(right) for left, right in ("()", "[]", "{}"))
    assert "{{" not in full


def test_files_count_from_the_bounds_with_regions_as_annotations_and_instances_as_detections(tmp_path: Path) -> None:
    write_qupath(draw_boxes(2), tmp_path / "a", CROPPED, TARGETS)
    features = json.loads(gzip.decompress((tmp_path / "a" / "objects-0001.geojson.gz").read_bytes()))["features"]
    assert [feature["properties"]["objectType"] for feature in features] == ["annotation", "detection"]
    for feature, drawn in zip(features, draw_boxes(2), strict=True):
        left, top, _, _ = shapely.geometry.shape(feature["geometry"]).bounds
        assert (left + 100, top + 50) == drawn.polygon.bounds[:2]


def test_an_object_too_small_for_qupath_is_not_counted(tmp_path: Path) -> None:
    tiny = Annotation(GLAND.name, shapely.box(5, 5, 5.001, 5.001), 1e-6)
    drawn = [tiny, Annotation(NUCLEUS.name, shapely.box(5, 5, 9, 9), 4.0)]
    assert write_qupath(drawn, tmp_path / "a", SLIDE, TARGETS) == {"objects-0001.geojson.gz": 1}


def test_a_folder_written_before_is_replaced_and_no_other(tmp_path: Path) -> None:
    write_qupath(draw_boxes(9), tmp_path / "a", SLIDE, TARGETS, 2)
    write_qupath(draw_boxes(3), tmp_path / "a", SLIDE, TARGETS)
    assert len(list((tmp_path / "a").iterdir())) == 2
    (tmp_path / "slide").mkdir()
    (tmp_path / "slide" / "Data0000.dat").write_text("precious")
    with pytest.raises(OutputError, match="did not write; remove it or choose another folder"):
        write_qupath(draw_boxes(3), tmp_path / "slide", SLIDE, TARGETS)
    assert (tmp_path / "slide" / "Data0000.dat").read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"a", "slide"}

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.annotations.masks import (
    DRAWERS,
    GLAND,
    NUCLEUS,
    TARGETS,
    annotate,
    draw_mask,
    draw_scores,
    make_slide,
    write_parquet,
)
from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.batches import Batch
from wsiparse.annotations.geojson import open_geojson, read_geojson, write_geojson
from wsiparse.annotations.parquet import open_parquet, read_parquet
from wsiparse.errors import OutputError
from wsiparse.geometry import Grid, Region
from wsiparse.slides.slide import Slide

GOLDEN = Path(__file__).with_name("golden.geojson")
SLIDE = Slide("s1", "s1.svs", (Grid(1000, 800, 0.25),), "manifest")
SQUARE = Annotation("gland", shapely.box(10, 10, 20, 20), 6.25, 0.9)


def load_features(path: Path) -> list[dict[str, Any]]:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    features = json.loads(content)["features"]
    assert isinstance(features, list)
    return features


def fail_midway() -> Iterator[Annotation]:
    yield SQUARE
    raise ZeroDivisionError


def draw_golden() -> tuple[list[Annotation], Slide]:
    labels = np.zeros((24, 30), np.uint8)
    labels[2:20, 3:25] = 1
    labels[6:12, 8:14] = 0
    labels[8:10, 10:12] = 2
    labels[20:23, 25:28] = 1
    _, slide = make_slide(labels, 2.0, Region(2, 4, 40, 40))
    return annotate(labels, scores=draw_scores(labels, 1)), slide


def test_golden_file(tmp_path: Path) -> None:
    annotations, slide = draw_golden()
    path = tmp_path / "golden.geojson"
    assert write_geojson(annotations, path, slide, TARGETS) == 3
    assert path.read_text() == GOLDEN.read_text()


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(sorted(DRAWERS)), st.integers(0, 2**20), st.sampled_from([1.0, 2.0, 3.9737]), st.booleans())
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, kind: str, seed: int, scale: float, cropped: bool
) -> None:
    labels = draw_mask(kind, seed)
    _, slide = make_slide(labels, scale, Region(7, 3, 20, 20) if cropped else None)
    annotations = annotate(labels, scale, scores=draw_scores(labels, seed))
    path = tmp_path_factory.mktemp("labels") / "annotations.geojson.gz"
    write_geojson(annotations, path, slide, TARGETS)
    back = read_geojson(path, slide)
    assert (back.skipped, back.repaired) == (0, 0)
    for written, read in zip(annotations, back.annotations, strict=True):
        assert read.target == written.target
        assert shapely.equals_exact(read.polygon.normalize(), written.polygon.normalize(), tolerance=0)
        assert read.probability == pytest.approx(written.probability, abs=1e-6)
        assert read.shape == pytest.approx(written.shape, abs=1e-6)
        assert read.runner_up is not None
        assert written.runner_up is not None
        assert read.runner_up.target == written.runner_up.target
        assert read.runner_up.probability == pytest.approx(written.runner_up.probability, abs=1e-6)


def test_ids_are_unique_stable_and_the_same_in_both_formats(tmp_path: Path) -> None:
    labels = draw_mask("noise", 8)
    _, slide = make_slide(labels, 2.0, Region(7, 3, 20, 20))
    annotations = [*annotate(labels), *annotate(labels)]  # every object twice
    ids = []
    for name in ("first.geojson", "second.geojson.gz"):
        write_geojson(annotations, tmp_path / name, slide, TARGETS)
        ids.append([feature["id"] for feature in load_features(tmp_path / name)])
    write_parquet(annotations, tmp_path / "annotations.parquet", slide)
    assert ids[0] == ids[1] == list(read_parquet(tmp_path / "annotations.parquet")["id"])
    assert len(set(ids[0])) == len(annotations)
    assert {uuid.UUID(value).version for value in ids[0]} == {5}


def test_other_slides_and_targets_give_other_ids(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    other = Slide("s2", "s1.svs", SLIDE.levels, "manifest")
    ids = []
    for slide, target in ((SLIDE, "gland"), (other, "gland"), (SLIDE, "nucleus")):
        write_geojson([Annotation(target, SQUARE.polygon, 6.25)], path, slide, TARGETS)
        ids.append(load_features(path)[0]["id"])
    assert len(set(ids)) == 3


def test_equal_annotations_give_equal_bytes(tmp_path: Path) -> None:
    annotations, slide = draw_golden()
    for name in ("a.geojson.gz", "b.geojson.gz"):
        write_geojson(annotations, tmp_path / name, slide, TARGETS)
    first = (tmp_path / "a.geojson.gz").read_bytes()
    assert first == (tmp_path / "b.geojson.gz").read_bytes()
    assert first[4:8] == b"\0\0\0\0"  # no time
    assert not first[3] & 0x08  # no name


def test_instances_are_detections_and_every_class_has_a_colour(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    names = ("gland", "nucleus", "Ignore*", "")
    write_geojson([Annotation(name, SQUARE.polygon, 6.25) for name in names], path, SLIDE, TARGETS)
    properties = [feature["properties"] for feature in load_features(path)]
    assert [entry["objectType"] for entry in properties] == ["annotation", "detection", "annotation", "annotation"]
    assert [entry.get("classification") for entry in properties] == [
        {"name": "gland", "color": list(GLAND.color)},
        {"name": "nucleus", "color": list(NUCLEUS.color)},
        {"name": "Ignore*", "color": [128, 128, 128]},
        None,
    ]


def test_measurements_are_never_nan_and_metadata_are_strings(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    with open_geojson(path, SLIDE, TARGETS) as writer:
        writer.write(Batch.of([Annotation("gland", SQUARE.polygon, float("nan"), float("inf"))]))
        writer.write(Batch.of([SQUARE]))
    first, second = (feature["properties"] for feature in load_features(path))
    assert first["measurements"] == {}
    assert second["measurements"] == {"Area µm^2": 6.25, "Mean probability": 0.9}
    assert second["metadata"] == {"prompt": GLAND.prompt}


def test_coordinates_have_two_decimals_and_one_part_is_a_polygon(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    outline = shapely.MultiPolygon([shapely.box(0.123456, 0, 10.98765, 7)])
    write_geojson([Annotation("gland", outline, 1)], path, SLIDE, TARGETS)
    geometry = load_features(path)[0]["geometry"]
    assert geometry["type"] == "Polygon"
    assert {x for x, _ in geometry["coordinates"][0]} == {0.12, 10.99}


def test_specks_below_the_grid_are_left_out_and_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    speck = Annotation("gland", shapely.Polygon([(0, 0), (0.001, 0), (0.001, 0.001)]), 1e-7)
    assert write_geojson([speck, SQUARE], path, SLIDE, TARGETS) == 1
    assert len(load_features(path)) == 1


def test_an_outline_that_qupath_refuses_is_refused_and_no_file_is_left(tmp_path: Path) -> None:
    bow_tie = Annotation("gland", shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)]), 1)
    with pytest.raises(OutputError, match="crosses itself"):
        write_geojson([SQUARE, bow_tie], tmp_path / "a.geojson", SLIDE, TARGETS)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_midway_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson.gz"
    write_geojson([SQUARE], path, SLIDE, TARGETS)
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        write_geojson(fail_midway(), path, SLIDE, TARGETS)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_many_batches_make_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson.gz"
    squares = [Annotation("gland", shapely.box(x, 0, x + 1, 1), 0.06) for x in range(2500)]
    assert write_geojson(iter(squares), path, SLIDE, TARGETS) == 2500
    read = read_geojson(path, SLIDE).annotations
    assert [a.polygon.bounds[0] for a in read] == list(range(2500))


def test_no_annotations_make_a_file_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    assert write_geojson([], path, SLIDE, TARGETS) == 0
    assert read_geojson(path, SLIDE).annotations == ()


@pytest.mark.parametrize(
    "write", [lambda path: open_geojson(path, SLIDE, TARGETS), lambda path: open_parquet(path, SLIDE)]
)
def test_no_folder_is_made_for_outlines(
    tmp_path: Path, write: Callable[[Path], AbstractContextManager[object]]
) -> None:
    # Of a share that was unmounted the mount point stays: what is made there is hidden when the share comes back.
    with pytest.raises(OutputError, match="cannot write"), write(tmp_path / "gone/outlines"):
        pass
    assert list(tmp_path.iterdir()) == []

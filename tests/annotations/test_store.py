from __future__ import annotations

import json
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import shapely
from shapely import MultiPolygon

from tests.annotations.masks import annotate, draw_mask, draw_scores, make_slide
from tests.peers import ask_peer
from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.batches import Batch
from wsiparse.annotations.identity import Identities
from wsiparse.annotations.store import write_store
from wsiparse.errors import OutputError
from wsiparse.geometry import Grid
from wsiparse.slides.slide import Slide

SLIDE = Slide("s1", "s1.svs", (Grid(1000, 800, 0.5),), "manifest")


def select(path: Path, query: str, *values: float) -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query, values).fetchall()


def test_the_store_has_the_layout_that_tiatoolbox_states(tmp_path: Path) -> None:
    write_store([], tmp_path / "a.db", SLIDE)
    metadata = {key: json.loads(value) for key, value in select(tmp_path / "a.db", "SELECT key, value FROM metadata")}
    assert metadata == {"version": "1.0.1", "compression": "zlib", "compression_level": 6}
    columns = [
        (name, kind)
        for _, name, kind, *_ in select(tmp_path / "a.db", "SELECT * FROM pragma_table_info('annotations')")
    ]
    assert columns == [
        ("id", "INTEGER"),
        ("key", "TEXT"),
        ("objtype", "TEXT"),
        ("cx", "FLOAT"),
        ("cy", "FLOAT"),
        ("geometry", "BLOB"),
        ("properties", "TEXT"),
        ("area", "FLOAT"),
    ]
    boxes = [name for _, name, *_ in select(tmp_path / "a.db", "SELECT * FROM pragma_table_info('rtree')")]
    assert boxes == ["id", "min_x", "max_x", "min_y", "max_y"]


def test_rows_hold_the_outlines_and_what_is_known_of_them(tmp_path: Path) -> None:
    labels = draw_mask("two targets", 8)
    _, slide = make_slide(labels, 2.0)
    annotations = annotate(labels, scores=draw_scores(labels, 8))
    assert write_store(annotations, tmp_path / "a.db", slide) == len(annotations)
    rows = select(tmp_path / "a.db", "SELECT key, objtype, cx, cy, geometry, properties, area FROM annotations")
    keys, kinds, xs, ys, blobs, texts, areas = zip(*rows, strict=True)
    assert list(keys) == Identities(slide.id).assign(Batch.of(annotations))
    assert set(kinds) == {"Polygon"}
    polygons = shapely.from_wkb([zlib.decompress(blob) for blob in blobs])
    expected = [annotation.polygon for annotation in annotations]
    assert all(shapely.equals_exact(polygons, expected, tolerance=0))
    assert list(areas) == pytest.approx(shapely.area(expected))
    centers = [(outline.centroid.x, outline.centroid.y) for outline in expected]
    assert list(zip(xs, ys, strict=True)) == centers
    properties = [json.loads(text) for text in texts]
    assert [entry["type"] for entry in properties] == [annotation.target for annotation in annotations]
    assert [entry["prob"] for entry in properties] == pytest.approx([a.probability for a in annotations], abs=1e-6)


def test_the_index_finds_what_lies_in_a_window(tmp_path: Path) -> None:
    boxes = [shapely.box(x, y, x + 5, y + 5) for x in range(0, 100, 10) for y in range(0, 100, 10)]
    write_store([Annotation("gland", box, 6.25) for box in boxes], tmp_path / "a.db", SLIDE)
    query = (
        "SELECT geometry FROM annotations, rtree WHERE annotations.id = rtree.id "
        "AND max_x >= ? AND min_x <= ? AND max_y >= ? AND min_y <= ?"
    )
    found = [shapely.from_wkb(zlib.decompress(blob)) for (blob,) in select(tmp_path / "a.db", query, 12, 33, 22, 44)]
    window = shapely.box(12, 22, 33, 44)
    assert {box.wkt for box in found} == {box.wkt for box in boxes if box.intersects(window)}


def test_parts_are_rows_of_their_own(tmp_path: Path) -> None:
    parts = MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(5, 5, 7, 6)])
    drawn = [Annotation("gland", parts, 1.0), Annotation("gland", shapely.box(9, 9, 10, 10), 1.0)]
    assert write_store(drawn, tmp_path / "a.db", SLIDE) == 3
    rows = select(tmp_path / "a.db", "SELECT id, key, area, properties FROM annotations")
    assert [row[0] for row in rows] == [1, 2, 3]
    assert rows[1][1] == f"{rows[0][1]}/1"
    assert [row[2] for row in rows] == [1.0, 2.0, 1.0]
    assert "prob" not in json.loads(rows[0][3])


def test_equal_annotations_are_equal_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "a.db", tmp_path / "b.db"]
    for path in paths:
        write_store([Annotation("gland", shapely.box(0, 0, 1, 1), 1.0)], path, SLIDE)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write_store([], tmp_path, SLIDE)


# The store asks for a switch that some builds of Python leave out of sqlite3, and loads no extension by it.
READ = """
import functools, json, sqlite3, sys
import shapely
class Connection(sqlite3.Connection):
    def enable_load_extension(self, on): pass
sqlite3.connect = functools.partial(sqlite3.connect, factory=Connection)
from tiatoolbox.annotation.storage import SQLiteStore
store = SQLiteStore(sys.argv[1])
found = store.query(shapely.box(0, 0, 40, 40)).values()
print(json.dumps([len(store), [(item.geometry.wkt, item.properties) for item in found]]))
store.close()
"""


@pytest.mark.peers
def test_tiatoolbox_finds_what_was_written(tmp_path: Path) -> None:
    ring = shapely.box(10, 10, 30, 30) - shapely.box(15, 15, 20, 20)
    drawn = [Annotation("gland", ring, 93.75, 0.75), Annotation("nucleus", shapely.box(50, 50, 60, 60), 25.0)]
    write_store(drawn, tmp_path / "a.db", SLIDE)
    count, ((outline, properties),) = ask_peer("tiatoolbox", READ, str(tmp_path / "a.db"))
    assert count == 2
    assert shapely.from_wkt(outline).equals(ring)
    assert properties["type"] == "gland"
    assert properties["prob"] == 0.75

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import shapely

from tests.annotations.masks import annotate, draw_mask, draw_scores, make_slide, write_parquet
from wsiparse.annotations.annotation import Annotation, Shape
from wsiparse.annotations.batches import Batch
from wsiparse.annotations.parquet import count_rows, open_parquet, read_parquet, stream_parquet
from wsiparse.errors import DamagedError
from wsiparse.geometry import Grid, Region
from wsiparse.slides.slide import Slide

SLIDE = Slide("s1", "s1.svs", (Grid(1000, 800, 0.25),), "manifest", Region(100, 100, 50, 50))


def fail_midway() -> Iterator[Annotation]:
    yield Annotation("gland", shapely.box(0, 0, 1, 1), 1.0)
    raise ZeroDivisionError


def test_geopandas_reads_back_what_was_written(tmp_path: Path) -> None:
    labels = draw_mask("two targets", 21)
    _, slide = make_slide(labels, 2.0, Region(5, 5, 10, 10))
    annotations = annotate(labels, scores=draw_scores(labels, 21))
    assert write_parquet(annotations, tmp_path / "a.parquet", slide) == len(annotations)
    table = read_parquet(tmp_path / "a.parquet")
    measures = [*Shape._fields, "runner_up", "runner_up_probability"]
    assert list(table.columns) == ["id", "slide", "target", "area_um2", "probability", *measures, "geometry"]
    assert table.crs is None
    assert list(table.target) == [a.target for a in annotations]
    assert list(table.area_um2) == [a.area_um2 for a in annotations]
    assert list(table.probability) == [a.probability for a in annotations]
    assert [tuple(row) for row in table[list(Shape._fields)].to_numpy()] == [a.shape for a in annotations]
    assert list(zip(table.runner_up, table.runner_up_probability, strict=True)) == [a.runner_up for a in annotations]
    assert list(stream_parquet(tmp_path / "a.parquet")) == annotations
    assert all(shapely.equals_exact(table.geometry.values, [a.polygon for a in annotations], tolerance=0))
    assert set(table.slide) == {"drawn"}


def test_row_groups_and_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with open_parquet(path, SLIDE) as writer:
        for first in range(0, 9000, 100):
            boxes = [(x, shapely.box(x, 0, x + 1, 1)) for x in range(first, first + 100)]
            writer.write(Batch.of([Annotation("gland" if x % 2 else "nucleus", box, 1.0) for x, box in boxes]))
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [8192, 808]
    geo = json.loads(file.schema_arrow.metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["columns"]["geometry"]["crs"] is None
    assert json.loads(file.schema_arrow.metadata[b"wsiparse"])["coordinate_space"] == "level0"
    assert read_parquet(path).probability.isna().all()


def test_no_annotations_make_an_empty_table(tmp_path: Path) -> None:
    write_parquet([], tmp_path / "a.parquet", SLIDE)
    assert len(read_parquet(tmp_path / "a.parquet")) == 0


def test_a_failure_midway_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write_parquet(fail_midway(), tmp_path / "a.parquet", SLIDE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", None])
def test_what_is_no_geoparquet_is_refused_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"a\.parquet") as caught:
        read_parquet(path)
    assert "\n" not in str(caught.value)


def test_annotations_are_streamed_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    ring = shapely.box(0, 0, 9, 9) - shapely.box(2, 2, 4, 4)
    written = [Annotation("gland", shapely.box(x, 0, x + 1, 1), 1.0, x / 9000) for x in range(9000)]
    written += [Annotation("", ring, 77.0), Annotation("gland", shapely.MultiPolygon([ring]), 77.0, 0.5)]
    write_parquet(written, path, SLIDE)
    assert list(stream_parquet(path)) == written
    assert count_rows(path) == len(written)


def test_a_stream_of_what_is_no_geoparquet_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet([Annotation("gland", draw_box(x), 1.0) for x in range(50)], path, SLIDE)
    damaged = bytearray(path.read_bytes())
    damaged[4:200] = bytes(196)
    for content in (b"", b"PAR1 and no more", bytes(damaged)):
        path.write_bytes(content)
        with pytest.raises(DamagedError, match=r"a\.parquet") as caught:
            list(stream_parquet(path))
        assert "\n" not in str(caught.value)
    with pytest.raises(DamagedError, match=r"none\.parquet"):
        list(stream_parquet(tmp_path / "none.parquet"))


def draw_box(x: int) -> shapely.Polygon:
    return shapely.box(x, 0, x + 1, 1)

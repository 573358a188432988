"""GeoParquet 1.1, both ways: one row an annotation, ready for GeoPandas, DuckDB and QGIS."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from wsiparse import __version__
from wsiparse.annotations.annotation import Annotation, RunnerUp, Shape
from wsiparse.annotations.batches import MEASURES, Batch, BatchWriter, write_batches
from wsiparse.annotations.identity import Identities
from wsiparse.errors import DamagedError
from wsiparse.files import write_whole
from wsiparse.maps.columns import bytes_column, number_column, text_column
from wsiparse.slides.slide import Slide

if TYPE_CHECKING:
    import geopandas

_GROUP = 8192
"""Rows of a row group."""
_COLUMN_TYPES = {
    "id": pa.string(),
    "slide": pa.string(),
    "target": pa.string(),
    "area_um2": pa.float64(),
    "probability": pa.float64(),
    "perimeter_um": pa.float64(),
    "convex_ratio": pa.float64(),
    "box_ratio": pa.float64(),
    "inertia_ratio": pa.float64(),
    "runner_up": pa.string(),
    "runner_up_probability": pa.float64(),
    "geometry": pa.binary(),
}


class ParquetWriter:
    """Writes annotations batch by batch; made by `open_parquet`."""

    def __init__(self, batches: BatchWriter) -> None:
        self.count = 0
        self._batches = batches

    def write(self, batch: Batch) -> None:
        """Take more annotations; they reach the file with the others of their row group."""
        self._batches.write(batch)
        self.count += len(batch)


@contextmanager
def open_parquet(path: str | Path, slide: Slide) -> Iterator[ParquetWriter]:
    """A GeoParquet file of a slide's annotations, geometry in level-0 pixels of the full slide, y down.

    It has no coordinate reference system: the places are on glass, not on Earth. The file appears when the block ends
    well. Raises OutputError where it cannot be written or has no folder.
    """
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": _describe_geometry()}}
    about = {"version": __version__, "slide": slide.id, "coordinate_space": "level0", "mpp": slide.mpp}
    metadata = {"geo": json.dumps(geo), "wsiparse": json.dumps(about)}
    schema = pa.schema(list(_COLUMN_TYPES.items()), metadata)
    path = Path(path)
    with write_whole(path, path.parent) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as file:
        groups = _RowGroups(file, slide)
        with write_batches(groups.write) as batches:
            yield ParquetWriter(batches)
        groups.close()


class _RowGroups:
    """Batches of any size as row groups of one."""

    def __init__(self, file: pq.ParquetWriter, slide: Slide) -> None:
        self._file = file
        self._slide_id = slide.id
        self._identities = Identities(slide.id)
        self._waiting = pa.Table.from_batches([], file.schema)

    def write(self, batch: Batch) -> None:
        columns = self._list_columns(batch, batch.ids or self._identities.assign(batch))
        table = pa.Table.from_arrays(columns, schema=self._file.schema)
        self._waiting = pa.concat_tables([self._waiting, table])
        while len(self._waiting) >= _GROUP:
            self._file.write_table(self._waiting.slice(0, _GROUP).combine_chunks())
            self._waiting = self._waiting.slice(_GROUP)

    def close(self) -> None:
        if len(self._waiting):
            self._file.write_table(self._waiting.combine_chunks())

    def _list_columns(self, batch: Batch, ids: Sequence[str]) -> list[pa.Array]:
        return [
            text_column(ids),
            text_column([self._slide_id] * len(batch)),
            text_column(batch.targets),
            *(number_column(batch.measures[name]) for name in MEASURES[:-1]),
            text_column(batch.runners_up),
            number_column(batch.measures[MEASURES[-1]]),
            bytes_column(shapely.to_wkb(batch.polygons)),
        ]


def _describe_geometry() -> dict[str, object]:
    return {"encoding": "WKB", "geometry_types": ["Polygon", "MultiPolygon"], "crs": None, "edges": "planar"}


def read_parquet(path: str | Path) -> geopandas.GeoDataFrame:
    """The table that `open_parquet` wrote: a row an annotation, level-0 pixels; DamagedError where it is not whole."""
    import geopandas  # with pandas, 40 MB that a worker, who only writes, never needs

    try:
        return geopandas.read_parquet(path)
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        raise _complain(path, error) from error


def count_rows(path: str | Path) -> int:
    """How many annotations `open_parquet` wrote, from the end of the file alone; DamagedError where it is not whole."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowInvalid) as error:
        raise _complain(path, error) from error


def _complain(path: str | Path, error: Exception) -> DamagedError:
    found = " ".join(str(error).split())  # Arrow's own messages may have several lines
    return DamagedError(
        f"{path}: {found}; expected the annotations.parquet of a run; delete the slide's folder and run again"
    )


def stream_tables(path: str | Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The row groups that `open_parquet` wrote, one in memory; DamagedError at the first that is not whole."""
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, columns)
    except (OSError, pa.ArrowInvalid) as error:
        raise _complain(path, error) from error


def check_parquet(path: str | Path) -> None:
    """Read a file once, for what cannot be taken back once it is half written; DamagedError where it is not whole."""
    for _ in stream_tables(path):
        pass


def stream_parquet(path: str | Path) -> Iterator[Annotation]:
    """The annotations that `open_parquet` wrote, in order, one row group in memory; DamagedError if it is not whole."""
    try:
        for table in stream_tables(path):
            yield from _make_annotations(table)
    except KeyError as error:
        raise _complain(path, error) from error


def _make_annotations(table: pa.Table) -> Iterator[Annotation]:
    polygons = shapely.from_wkb(table["geometry"].to_numpy())
    targets, areas, means = (table[name].to_pylist() for name in ("target", "area_um2", "probability"))
    shapes = (table[name].to_pylist() for name in Shape._fields)
    runners_up = (table[name].to_pylist() for name in ("runner_up", "runner_up_probability"))
    measured = (None if row[0] is None else Shape(*row) for row in zip(*shapes, strict=True))
    next_best = (None if row[0] is None else RunnerUp(*row) for row in zip(*runners_up, strict=True))
    return map(Annotation, targets, polygons, areas, means, measured, next_best)

"""GeoParquet 1.1, both ways: one row an annotation, ready for GeoPandas, DuckDB and QGIS."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from wsiparse import __version__
from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.identity import Identities
from wsiparse.errors import OutputError
from wsiparse.files import write_whole
from wsiparse.slides.slide import Slide

_BATCH = 8192
_COLUMN_TYPES = {
    "id": pa.string(),
    "slide": pa.string(),
    "target": pa.string(),
    "area_um2": pa.float64(),
    "probability": pa.float64(),
    "geometry": pa.binary(),
}


class ParquetWriter:
    """Writes annotations one after another, a row group a batch; made by `open_parquet`."""

    def __init__(self, writer: pq.ParquetWriter, slide: Slide) -> None:
        self.count = 0
        self._writer = writer
        self._slide = slide
        self._identities = Identities(slide.id)
        self._waiting: list[Annotation] = []

    def write(self, annotation: Annotation) -> None:
        """Take one more annotation; it reaches the file with the others of its batch."""
        self._waiting.append(annotation)
        self.count += 1
        if len(self._waiting) == _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        columns = [
            self._identities.assign(self._waiting),
            [self._slide.id] * len(self._waiting),
            [annotation.target for annotation in self._waiting],
            [annotation.area_um2 for annotation in self._waiting],
            [annotation.probability for annotation in self._waiting],
            shapely.to_wkb(np.array([annotation.polygon for annotation in self._waiting], object)),
        ]
        arrays = [pa.array(column, kind) for column, kind in zip(columns, _COLUMN_TYPES.values(), strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._writer.schema))
        self._waiting.clear()


@contextmanager
def open_parquet(path: str | Path, slide: Slide) -> Iterator[ParquetWriter]:
    """A GeoParquet file of a slide's annotations, geometry in level-0 pixels of the full slide, y down.

    It has no coordinate reference system: the places are on glass, not on Earth. The file appears when the block ends
    well. Raises OutputError where it cannot be written.
    """
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": _describe_geometry()}}
    about = {"version": __version__, "slide": slide.id, "coordinate_space": "level0", "mpp": slide.mpp}
    metadata = {"geo": json.dumps(geo), "wsiparse": json.dumps(about)}
    schema = pa.schema(list(_COLUMN_TYPES.items()), metadata)
    with write_whole(Path(path)) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as file:
        writer = ParquetWriter(file, slide)
        yield writer
        writer.flush()


def _describe_geometry() -> dict[str, object]:
    return {"encoding": "WKB", "geometry_types": ["Polygon", "MultiPolygon"], "crs": None, "edges": "planar"}


def write_parquet(annotations: Iterable[Annotation], path: str | Path, slide: Slide) -> int:
    """Write annotations as `open_parquet` says, and return how many."""
    with open_parquet(path, slide) as writer:
        for annotation in annotations:
            writer.write(annotation)
    return writer.count


def read_parquet(path: str | Path) -> geopandas.GeoDataFrame:
    """The table that `open_parquet` wrote: id, slide, target, area_um2, probability, geometry in level-0 pixels."""
    try:
        return geopandas.read_parquet(path)
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        raise OutputError(f"{path}: {error}; expected the annotations.parquet of a run; run it again") from error


def stream_parquet(path: str | Path) -> Iterator[Annotation]:
    """The annotations that `open_parquet` wrote, in their order; memory holds one row group."""
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield from _make_annotations(file.read_row_group(group))
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        found = " ".join(str(error).split())  # Arrow's own messages may have several lines
        raise OutputError(f"{path}: {found}; expected the annotations.parquet of a run; run it again") from error


def _make_annotations(table: pa.Table) -> Iterator[Annotation]:
    polygons = shapely.from_wkb(table["geometry"].to_numpy())
    targets, areas, means = (table[name].to_pylist() for name in ("target", "area_um2", "probability"))
    for row in zip(targets, polygons, areas, means, strict=True):
        yield Annotation(*row)

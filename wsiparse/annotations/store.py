"""TIAToolbox's annotation store: an SQLite file with a spatial index, version 1.0.1 of its layout."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import shapely

from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.batches import Batch, cut_batches
from wsiparse.annotations.identity import Identities
from wsiparse.errors import OutputError
from wsiparse.files import write_whole
from wsiparse.slides.slide import Slide

_LEVEL = 6
_LAYOUT = {"version": "1.0.1", "compression": "zlib", "compression_level": _LEVEL}
_TABLES = (
    "CREATE TABLE metadata (key TEXT UNIQUE, value TEXT)",
    "CREATE VIRTUAL TABLE rtree USING rtree(id, min_x, max_x, min_y, max_y)",
    "CREATE TABLE annotations (id INTEGER PRIMARY KEY, key TEXT UNIQUE, objtype TEXT, cx FLOAT NOT NULL, "
    "cy FLOAT NOT NULL, geometry BLOB, properties TEXT, area FLOAT NOT NULL)",
)
_SPEED = ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF")
"""A file that is renamed when whole needs no journal."""


_Row = tuple[tuple[Any, ...], tuple[Any, ...]]
"""What goes into `annotations` and into `rtree`; both begin with the row's number."""


def write_store(annotations: Iterable[Annotation], path: str | Path, slide: Slide) -> int:
    """Write a store for TIAToolbox and its viewer, in level-0 pixels of the full slide, and return how many rows.

    Properties are `type` (the target), `prob` (0..1), `area_um2` and `slide`. The store knows polygons alone: of an
    annotation with several parts each becomes a row. Raises OutputError where the file cannot be written.
    """
    count, identities = 0, Identities(slide.id)
    with write_whole(Path(path)) as partial:
        try:
            with closing(_create_store(partial)) as database, database:
                for batch in cut_batches(annotations):
                    ids = identities.assign(Batch.of(batch))
                    count += _insert_rows(database, list(_make_rows(batch, ids, slide, count)))
        except sqlite3.Error as error:
            raise OutputError(f"{path}: cannot write: {error}; free the disk or choose another output") from error
    return count


def _create_store(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    for command in (*_SPEED, *_TABLES):
        database.execute(command)
    entries = [(key, json.dumps(value)) for key, value in _LAYOUT.items()]
    database.executemany("INSERT INTO metadata VALUES (?, ?)", entries)
    return database


def _insert_rows(database: sqlite3.Connection, rows: Sequence[_Row]) -> int:
    database.executemany("INSERT INTO annotations VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [entry for entry, _ in rows])
    database.executemany("INSERT INTO rtree VALUES (?, ?, ?, ?, ?)", [box for _, box in rows])
    return len(rows)


def _make_rows(batch: Sequence[Annotation], ids: Sequence[str], slide: Slide, count: int) -> Iterator[_Row]:
    number = count
    for annotation, id in zip(batch, ids, strict=True):
        properties = _describe(annotation, slide)
        for n, part in enumerate(shapely.get_parts(annotation.polygon)):
            number += 1
            key = f"{id}/{n}" if n else id
            center, (left, top, right, bottom) = part.centroid, part.bounds
            geometry = zlib.compress(shapely.to_wkb(part), level=_LEVEL)
            entry = (number, key, "Polygon", center.x, center.y, geometry, properties, part.area)
            yield entry, (number, left, right, top, bottom)


def _describe(annotation: Annotation, slide: Slide) -> str:
    properties = {"type": annotation.target, "area_um2": round(annotation.area_um2, 6), "slide": slide.id}
    if annotation.probability is not None:
        properties["prob"] = round(annotation.probability, 6)
    return json.dumps(properties)

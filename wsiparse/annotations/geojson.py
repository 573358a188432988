"""QuPath's GeoJSON, both ways: predicted annotations out, pathologists' annotations in."""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import orjson
import shapely
from shapely import MultiPolygon, Polygon

from wsiparse import __version__
from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.batches import Batch, BatchWriter, cut_batches, write_batches
from wsiparse.annotations.documents import read_documents
from wsiparse.annotations.feature_text import FeatureText
from wsiparse.annotations.features import (
    find_features,
    is_cell,
    parse_class,
    parse_polygons,
    parse_probability,
    parse_runner_up,
    parse_shape,
    repair_polygons,
)
from wsiparse.annotations.identity import Identities
from wsiparse.annotations.outlines import Polygons
from wsiparse.annotations.simplify import snap_polygons
from wsiparse.errors import DamagedError, OutputError, ReferenceFileError
from wsiparse.files import write_whole
from wsiparse.ontology import Target
from wsiparse.slides.slide import Slide

_COMPRESSION = 1
"""Level of gzip: higher ones take two to four times as long and save a twentieth to a quarter."""
_READ_AT_ONCE = 1 << 24

CoordinateSpace = Literal["level0", "qupath_openslide"]
"""Origin of a file's pixels: the full slide, or the scanned area that QuPath crops to where the slide states bounds."""


@dataclass(frozen=True)
class Labels:
    """What a file of labels held."""

    annotations: tuple[Annotation, ...]
    """In the file's order, level-0 pixels of the full slide."""
    skipped: int = 0
    """Objects left out: points, lines, QuPath's tiles and cores, outlines that enclose no area."""
    repaired: int = 0
    """Annotations whose outline crossed itself and was made valid."""
    skipped_classes: frozenset[str] = frozenset()
    """Classes of what was left out; empty for what has none."""
    cells: int = 0
    """Annotations that QuPath keeps with a nucleus: their outline is the cell's."""


def read_geojson(path: str | Path, slide: Slide) -> Labels:
    """Annotations of a slide from any form of GeoJSON that QuPath writes: plain, gzipped or zipped.

    Its origin is what the file states, else QuPath's habit of shifting by the slide's bounds. Areas are those of the
    outlines. Raises ReferenceFileError, with the place, for a file that cannot be read as a whole.
    """
    parts = [_read_document(document, slide, path) for document in read_documents(path)]
    annotations = tuple(annotation for part in parts for annotation in part.annotations)
    classes = frozenset[str]().union(*(part.skipped_classes for part in parts))
    skipped, repaired, cells = (sum(getattr(part, name) for part in parts) for name in ("skipped", "repaired", "cells"))
    return Labels(annotations, skipped, repaired, classes, cells)


def _read_document(document: Any, slide: Slide, path: str | Path) -> Labels:
    origin = _find_origin(slide, _stated_space(document))
    seen, repaired, cells = 0, 0, 0
    annotations: list[Annotation] = []
    left_out: set[str] = set()
    try:
        for feature in find_features(document):
            seen += 1
            outline, crossed = repair_polygons(parse_polygons(feature))
            if outline.is_empty:
                left_out.add(parse_class(feature))
                continue
            repaired += crossed
            cells += is_cell(feature)
            annotations.append(_make_annotation(feature, outline, origin, slide))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        place = f"{path}: near feature {seen}" if seen else f"{path}"
        raise ReferenceFileError(f"{place}: {error}; expected GeoJSON features; export the file again") from error
    return Labels(tuple(annotations), seen - len(annotations), repaired, frozenset(left_out), cells)


def _make_annotation(
    feature: dict[str, Any], outline: Polygon | MultiPolygon, origin: tuple[int, int], slide: Slide
) -> Annotation:
    # A millionth of a pixel is finer than any file and coarser than the rounding of the sum: 4.08 + 10 is 14.08 again.
    placed = shapely.transform(outline, lambda points: np.round(points + origin, 6)) if any(origin) else outline
    area_um2 = float(outline.area) * slide.grid.pixel_area_um2
    found = parse_probability(feature), parse_shape(feature), parse_runner_up(feature)
    return Annotation(parse_class(feature), placed, area_um2, *found)


def _stated_space(document: Any) -> CoordinateSpace:
    member = document.get("wsiparse") if isinstance(document, dict) else None
    stated = member.get("coordinate_space") if isinstance(member, dict) else None
    return "level0" if stated == "level0" else "qupath_openslide"


def _find_origin(slide: Slide, space: CoordinateSpace) -> tuple[int, int]:
    """Level-0 pixel of the full slide at which a coordinate space begins."""
    bounds = slide.bounds if space == "qupath_openslide" else None
    return (bounds.x, bounds.y) if bounds else (0, 0)


class _GeojsonFile:
    """Features one batch after another, and how many."""

    def __init__(self, file: BinaryIO, slide: Slide, targets: Sequence[Target]) -> None:
        self.count = 0
        self._file = file
        self._slide = slide
        self._text = FeatureText(targets)
        self._identities = Identities(slide.id)

    def write(self, batch: Batch) -> None:
        """Write a batch; an outline smaller than QuPath's grid of 0.01 pixels is left out, as QuPath would do."""
        polygons = self._place(batch)
        features = self._text.write(batch, polygons, batch.ids or self._identities.assign(batch))
        features = [features[n] for n in np.flatnonzero(~shapely.is_empty(polygons)).tolist()]
        if features:
            self._file.write((b",\n" if self.count else b"\n") + b",\n".join(features))
        self.count += len(features)

    def _place(self, batch: Batch) -> Polygons:
        origin = _find_origin(self._slide, "qupath_openslide")
        if batch.on_grid and not any(origin):
            return batch.polygons
        try:
            return snap_polygons(shapely.transform(batch.polygons, lambda points: points - origin))
        except shapely.GEOSException as error:
            raise OutputError(f"{self._slide.id}: an outline crosses itself ({error}); make it valid first") from error


class GeojsonWriter:
    """Writes annotations batch by batch; made by `open_geojson`."""

    def __init__(self, file: _GeojsonFile, batches: BatchWriter) -> None:
        self._file = file
        self._batches = batches

    @property
    def count(self) -> int:
        """Objects written so far; all of them once `open_geojson` has ended."""
        return self._file.count

    def write(self, batch: Batch) -> None:
        """Take more annotations."""
        self._batches.write(batch)


@contextmanager
def open_geojson(path: str | Path, slide: Slide, targets: Sequence[Target]) -> Iterator[GeojsonWriter]:
    """A FeatureCollection that QuPath opens, gzipped where the name ends in `.gz`; equal input gives equal bytes.

    Coordinates count from the origin that QuPath shows: the slide's bounds, where it states them. Targets with
    `instances` become detections, all else annotations; a class that is no target is grey. The file appears when the
    block ends well. Raises OutputError where it cannot be written or has no folder.
    """
    space = "qupath_openslide" if slide.bounds else "level0"
    header = {"version": __version__, "slide": slide.id, "coordinate_space": space}
    path = Path(path)
    with write_whole(path, within=path.parent) as partial, _open_packed(partial, path.suffix == ".gz") as file:
        file.write(b'{"type":"FeatureCollection","wsiparse":' + orjson.dumps(header) + b',"features":[')
        features = _GeojsonFile(file, slide, targets)
        with write_batches(features.write) as batches:
            yield GeojsonWriter(features, batches)
        file.write(b"\n]}\n")


@contextmanager
def _open_packed(path: Path, packed: bool) -> Iterator[BinaryIO]:
    with path.open("wb") as file:
        if not packed:
            yield file
            return
        # Neither the temporary name nor the time goes into the header: equal annotations are equal bytes.
        with gzip.GzipFile("", "wb", _COMPRESSION, file, mtime=0) as archive:
            yield cast(BinaryIO, archive)


def copy_geojson(source: Path, path: str | Path) -> None:
    """Copy a gzipped file that `open_geojson` wrote; DamagedError where it is not whole, as its checksum says."""
    try:
        with gzip.open(source) as file:
            while file.read(_READ_AT_ONCE):
                pass
    except (OSError, EOFError, zlib.error) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DamagedError(
            f"{source}: {told}; expected GeoJSON of a run; delete {source.parent} and run again to have it made anew"
        ) from error
    with write_whole(Path(path)) as partial:
        shutil.copyfile(source, partial)


def write_geojson(annotations: Iterable[Annotation], path: str | Path, slide: Slide, targets: Sequence[Target]) -> int:
    """Write annotations as `open_geojson` says, and return how many."""
    with open_geojson(path, slide, targets) as writer:
        for batch in cut_batches(annotations):
            writer.write(Batch.of(batch))
    return writer.count

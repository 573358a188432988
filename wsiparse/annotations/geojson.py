"""QuPath's GeoJSON, both ways: predicted annotations out, pathologists' annotations in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import shapely
from shapely import MultiPolygon, Polygon

from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.documents import read_documents
from wsiparse.annotations.features import find_features, parse_class, parse_polygons, parse_probability, repair_polygons
from wsiparse.errors import ReferenceFileError
from wsiparse.slides.slide import Slide

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


def read_geojson(path: str | Path, slide: Slide, space: CoordinateSpace | None = None) -> Labels:
    """Annotations of a slide from any form of GeoJSON that QuPath writes: plain, gzipped or zipped.

    Without `space` the file's own statement decides, else QuPath's habit of shifting by the slide's bounds. Areas are
    those of the outlines. Raises ReferenceFileError, with the place, for a file that cannot be read as a whole.
    """
    parts = [_read_document(document, slide, space, path) for document in read_documents(path)]
    annotations = tuple(annotation for part in parts for annotation in part.annotations)
    return Labels(annotations, sum(part.skipped for part in parts), sum(part.repaired for part in parts))


def _read_document(document: Any, slide: Slide, space: CoordinateSpace | None, path: str | Path) -> Labels:
    origin = find_origin(slide, space or _stated_space(document))
    seen, repaired = 0, 0
    annotations: list[Annotation] = []
    try:
        for feature in find_features(document):
            seen += 1
            outline, crossed = repair_polygons(parse_polygons(feature))
            repaired += crossed and not outline.is_empty
            annotations += _make_annotations(feature, outline, origin, slide)
    except (ValueError, RecursionError) as error:
        place = f"{path}: near feature {seen}" if seen else f"{path}"
        raise ReferenceFileError(f"{place}: {error}; expected GeoJSON features; export the file again") from error
    return Labels(tuple(annotations), seen - len(annotations), repaired)


def _make_annotations(
    feature: dict[str, Any], outline: Polygon | MultiPolygon, origin: tuple[int, int], slide: Slide
) -> list[Annotation]:
    if outline.is_empty:
        return []
    placed = shapely.transform(outline, lambda points: points + origin) if any(origin) else outline
    area_um2 = float(outline.area) * slide.grid.pixel_area_um2
    return [Annotation(parse_class(feature), placed, area_um2, parse_probability(feature))]


def _stated_space(document: Any) -> CoordinateSpace:
    member = document.get("wsiparse") if isinstance(document, dict) else None
    stated = member.get("coordinate_space") if isinstance(member, dict) else None
    return "level0" if stated == "level0" else "qupath_openslide"


def find_origin(slide: Slide, space: CoordinateSpace) -> tuple[int, int]:
    """Level-0 pixel of the full slide at which a coordinate space begins."""
    bounds = slide.bounds if space == "qupath_openslide" else None
    return (bounds.x, bounds.y) if bounds else (0, 0)

"""Annotations of the viewer ASAP, both ways: its XML of groups and numbered points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO
from xml.sax.saxutils import quoteattr

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Polygon

from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.drawings import Drawing, Form, Point, make_labels, parse_point
from wsiparse.annotations.elements import Element, read_elements
from wsiparse.annotations.features import UNKNOWN_COLOR
from wsiparse.annotations.geojson import Labels
from wsiparse.errors import ReferenceFileError
from wsiparse.files import write_whole
from wsiparse.ontology import Target
from wsiparse.slides.slide import Slide

ROOT = "ASAP_Annotations"
_FORMS: dict[str, Form] = {"Polygon": "polygon", "Spline": "polygon", "Rectangle": "rectangle"}


def read_asap(path: str | Path, slide: Slide) -> Labels:
    """Annotations of a slide from an ASAP file; its pixels are those of the full slide at level 0.

    The class is the group, empty for `None`. A spline is taken as straight lines between its points; dots, point sets
    and measurements are skipped. Raises ReferenceFileError with the line for a file that cannot be read as a whole.
    """
    try:
        return make_labels(list(_gather(read_elements(path, ROOT))), slide)
    except ValueError as error:
        raise ReferenceFileError(f"{path}: {error}; expected annotations of ASAP; save it again") from error


def _gather(elements: Iterable[Element]) -> Iterator[Drawing]:
    drawing: Drawing | None = None
    numbered: list[tuple[int, Point]] = []
    for element in elements:
        if element.name == "Annotation" and element.opens:
            drawing, numbered = _begin(element), []
        elif element.name == "Annotation" and drawing:
            for _, point in sorted(numbered, key=_number):
                drawing.points.extend(point)
            yield drawing
            drawing = None
        elif element.name == "Coordinate" and element.opens:
            numbered.append(_parse_coordinate(element, inside=drawing is not None))


def _begin(element: Element) -> Drawing:
    group = element.attributes.get("PartOfGroup", "").strip()
    form = _FORMS.get(element.attributes.get("Type", "Polygon"), "other")
    return Drawing("" if group == "None" else group, form)


def _number(entry: tuple[int, Point]) -> int:
    return entry[0]


def _parse_coordinate(element: Element, inside: bool) -> tuple[int, Point]:
    if not inside:
        raise ValueError(f"a Coordinate outside of any Annotation in line {element.line}")
    try:
        return _parse_order(element.attributes.get("Order", "")), parse_point(element.attributes)
    except ValueError as error:
        raise ValueError(f"line {element.line}: {error}") from None


def _parse_order(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"Order {text[:20]!r} is not a whole number") from None


def write_asap(annotations: Iterable[Annotation], path: str | Path, targets: Sequence[Target]) -> int:
    """Write annotations for ASAP, one group a class, and return how many outlines that made.

    ASAP has neither holes nor parts: a hole is joined to its shell by a slit of no width, which keeps every pixel in or
    out, and each part becomes an annotation. The file appears when all is written; OutputError where it cannot be.
    """
    colors = {target.name: _hex(target.color) for target in targets}
    seen: dict[str, str] = {}
    count = 0
    with write_whole(Path(path)) as partial, partial.open("w", encoding="utf-8") as file:
        file.write(f'<?xml version="1.0"?>\n<{ROOT}>\n\t<Annotations>\n')
        for annotation in annotations:
            color = seen.setdefault(annotation.target, colors.get(annotation.target, _hex(UNKNOWN_COLOR)))
            for part in shapely.get_parts(annotation.polygon):
                _write_outline(file, part, f"Annotation {count}", annotation.target, color)
                count += 1
        file.write("\t</Annotations>\n\t<AnnotationGroups>\n")
        _write_groups(file, seen)
        file.write(f"\t</AnnotationGroups>\n</{ROOT}>\n")
    return count


def _write_outline(file: TextIO, polygon: Polygon, name: str, target: str, color: str) -> None:
    group = quoteattr(target or "None")
    file.write(
        f'\t\t<Annotation Name="{name}" Type="Polygon" PartOfGroup={group} Color="{color}">\n\t\t\t<Coordinates>\n'
    )
    for order, (x, y) in enumerate(join_holes(polygon).tolist()):
        file.write(f'\t\t\t\t<Coordinate Order="{order}" X="{x!r}" Y="{y!r}" />\n')
    file.write("\t\t\t</Coordinates>\n\t\t</Annotation>\n")


def _write_groups(file: TextIO, colors: dict[str, str]) -> None:
    for name, color in colors.items():
        if name:
            attributes = f'Name={quoteattr(name)} PartOfGroup="None" Color="{color}"'
            file.write(f"\t\t<Group {attributes}>\n\t\t\t<Attributes />\n\t\t</Group>\n")


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def join_holes(polygon: Polygon) -> NDArray[np.float64]:
    """One ring of points [points, 2], not closed, that encloses what the polygon does; slits lead to its holes."""
    polygon = shapely.orient_polygons(polygon)  # shell and holes turn against each other, whatever the filling rule
    shell, *holes = (shapely.get_coordinates(ring) for ring in [polygon.exterior, *polygon.interiors])
    ring = shell[:-1]
    for hole in holes:
        distances = ((ring - hole[0]) ** 2).sum(axis=1)
        start = int(distances.argmin())
        ring = np.concatenate([ring[: start + 1], hole, ring[start:]])
    return np.asarray(ring)

"""Annotations drawn in Aperio ImageScope: its XML, in which layers are classes and regions are outlines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from wsiparse.annotations.drawings import Drawing, Form, make_labels, parse_point
from wsiparse.annotations.elements import Element, read_elements
from wsiparse.annotations.geojson import Labels
from wsiparse.errors import ReferenceFileError
from wsiparse.slides.slide import Slide

ROOT = "Annotations"
_FORMS: dict[str, Form] = {"0": "polygon", "1": "rectangle", "2": "ellipse"}


def read_imagescope(path: str | Path, slide: Slide) -> Labels:
    """Annotations of a slide from an ImageScope file; its pixels are those of the full slide at level 0.

    The class is the name of the layer, else its description; of several layers with neither, each is `layer <id>`, and
    a single one has the empty class. Regions drawn with the negative pen are holes in their layer; arrows, rulers and
    points are skipped. Raises ReferenceFileError with the line for a file that cannot be read as a whole.
    """
    try:
        layers = _Layers()
        for element in read_elements(path, ROOT):
            layers.take(element)
        return make_labels(layers.name_drawings(), slide)
    except ValueError as error:
        raise ReferenceFileError(f"{path}: {error}; expected regions of ImageScope; export it again") from error


class _Layers:
    """The layers of a file and what is drawn on them, gathered tag by tag."""

    def __init__(self) -> None:
        self._drawings: list[Drawing] = []
        self._ids: list[str] = []
        self._names: list[str] = []
        self._in_region = False

    def take(self, element: Element) -> None:
        """Note one more tag."""
        if element.name == "Region":
            self._take_region(element)
        elif element.opens and element.name in {"Annotation", "Attribute", "Vertex", "V"}:
            self._take_part(element)

    def _take_region(self, element: Element) -> None:
        self._in_region = element.opens
        if not element.opens:
            return
        if not self._ids:
            raise ValueError(f"a Region outside of any Annotation in line {element.line}")
        form = _FORMS.get(element.attributes.get("Type", "0"), "other")
        hole = element.attributes.get("NegativeROA") == "1"
        self._drawings.append(Drawing("", form, len(self._ids) - 1, hole))

    def _take_part(self, element: Element) -> None:
        if element.name == "Annotation":
            self._ids.append(element.attributes.get("Id") or str(len(self._ids) + 1))
            self._names.append(element.attributes.get("Name", "").strip())
        elif element.name != "Attribute":
            self._take_vertex(element)
        elif self._names and not self._in_region:
            self._take_description(element)

    def _take_vertex(self, element: Element) -> None:
        if not self._in_region:
            raise ValueError(f"a vertex outside of any Region in line {element.line}")
        try:
            self._drawings[-1].points.extend(parse_point(element.attributes))
        except ValueError as error:
            raise ValueError(f"line {element.line}: {error}") from None

    def _take_description(self, element: Element) -> None:
        if element.attributes.get("Name") == "Description" and not self._names[-1]:
            self._names[-1] = element.attributes.get("Value", "").strip()

    def name_drawings(self) -> list[Drawing]:
        """All that was drawn, in the file's order, each with the class of its layer.

        Arrows, rulers and points in a layer that has no name are of no class, whichever layers there are.
        """
        used = {drawing.layer for drawing in self._drawings}
        numbered = [f"layer {number}" if len(used) > 1 else "" for number in self._ids]
        return [
            replace(drawing, name=self._names[n] or ("" if drawing.form == "other" else numbered[n]))
            for drawing in self._drawings
            for n in [drawing.layer]
        ]

"""An outline with its target: predicted or drawn by a pathologist, the same type."""

from __future__ import annotations

from dataclasses import dataclass

from shapely import MultiPolygon, Polygon


@dataclass(frozen=True)
class Annotation:
    """One outlined region or object of a slide."""

    target: str
    """Name of the target, or the class a pathologist gave it; empty where the file gives none."""
    polygon: Polygon | MultiPolygon
    """In level-0 pixels of the full slide, y down; holes are interior rings."""
    area_um2: float
    probability: float | None = None
    """Mean probability of the pixels inside; None for what a person drew."""

"""An outline with its target: predicted or drawn by a pathologist, the same type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from shapely import MultiPolygon, Polygon


class Shape(NamedTuple):
    """Measures of one outline, as `measures.Shapes` explains them; nan for what has no area."""

    perimeter_um: float
    convex_ratio: float
    box_ratio: float
    inertia_ratio: float


class RunnerUp(NamedTuple):
    """The target of the same group that comes next."""

    target: str
    probability: float
    """Its mean over the same pixels."""


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
    shape: Shape | None = None
    """None where it was not measured."""
    runner_up: RunnerUp | None = None
    """None where the group has no other target, and for what a person drew."""

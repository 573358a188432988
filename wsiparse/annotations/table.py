"""Objects as a table that a spreadsheet or R opens: one row an annotation, place, size, shape, certainty, runner-up."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.batches import Batch, cut_batches
from wsiparse.annotations.identity import Identities
from wsiparse.annotations.measures import measure_shapes
from wsiparse.files import write_whole
from wsiparse.slides.slide import Slide

COLUMNS = (
    "id",
    "target",
    "centroid_x",
    "centroid_y",
    "area_um2",
    "perimeter_um",
    "convex_ratio",
    "box_ratio",
    "inertia_ratio",
    "probability",
    "runner_up",
    "runner_up_probability",
)


def write_table(annotations: Iterable[Annotation], path: str | Path, slide: Slide) -> int:
    """Write one row an annotation as CSV, and return how many.

    Centroids are level-0 pixels of the full slide; areas and probabilities are those of the annotations, shapes those
    of the outlines (see `Shapes`). A number that does not exist is an empty cell. Raises OutputError where the file
    cannot be written.
    """
    identities, count = Identities(slide.id), 0
    with write_whole(Path(path)) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for batch in cut_batches(annotations):
            writer.writerows(_make_rows(batch, identities.assign(Batch.of(batch)), slide))
            count += len(batch)
    return count


def _make_rows(batch: Sequence[Annotation], ids: Sequence[str], slide: Slide) -> Iterator[tuple[str, ...]]:
    shapes = measure_shapes(np.array([annotation.polygon for annotation in batch], object), slide.grid)
    ratios = np.column_stack([shapes.convex_ratio, shapes.box_ratio, shapes.inertia_ratio])
    rows = zip(batch, ids, shapes.centroid, shapes.perimeter_um, ratios, strict=True)
    for annotation, id, centroid, perimeter, row in rows:
        numbers = (*centroid, annotation.area_um2, perimeter, *row, annotation.probability)
        yield id, annotation.target, *(_show(number) for number in numbers), *_show_runner_up(annotation)


def _show_runner_up(annotation: Annotation) -> tuple[str, str]:
    second = annotation.runner_up
    return (second.target, _show(second.probability)) if second else ("", "")


def _show(number: float | None) -> str:
    return "" if number is None or not math.isfinite(number) else f"{number:.4f}"

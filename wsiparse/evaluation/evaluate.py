"""Compare a label map with its reference, region by region: memory is that of one region, whatever the slide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import ReferenceFileError
from wsiparse.evaluation.references import Reference
from wsiparse.evaluation.scores import Score
from wsiparse.geometry import Grid, Region
from wsiparse.maps.labels import LabelImage, read_labels
from wsiparse.maps.recognition import Labels
from wsiparse.ontology import Target


@dataclass(frozen=True)
class Prediction:
    """The label map of one group over the whole of its grid, in regions that do not overlap."""

    grid: Grid
    targets: tuple[Target, ...]
    """The n-th has code n + 1."""
    regions: Iterable[tuple[Region, Labels]]
    """Codes [h, w] of each region; read once."""


def open_prediction(image: LabelImage) -> Prediction:
    """The label map of a run, read a block at a time; what was not written is predicted to be nothing."""
    return Prediction(image.canvas.grid, image.targets, _read_regions(image))


def evaluate_slide(slide: str, prediction: Prediction, reference: Reference) -> list[Score]:
    """Scores of the targets that the reference covers, at the scale of the prediction.

    Raises ReferenceFileError where ignored annotations leave nothing to compare.
    """
    judged = [(code, t.name) for code, t in enumerate(prediction.targets, start=1) if reference.covers(t.name)]
    counts = np.zeros((len(judged), 3), np.int64)  # both, predicted, reference of each target
    ignored = 0
    for region, labels in prediction.regions:
        compared = ~reference.draw_ignored(region, prediction.grid)  # [h, w]
        ignored += region.area - int(np.count_nonzero(compared))
        codes = np.where(compared, labels, 0)
        for row, (code, name) in enumerate(judged):
            drawn = reference.draw(name, region, prediction.grid) & compared
            counts[row] += _count(codes == code, drawn)
    if judged and ignored == prediction.grid.region.area:
        raise ReferenceFileError(
            f"{slide}: the reference ignores all {ignored} pixels; expected annotations that leave some to compare: "
            "give the unclassified ones a class, or draw the Region* on the slide"
        )
    rows = zip(judged, counts.tolist(), strict=True)
    return [Score(slide, name, both, predicted, drawn, ignored) for (_, name), (both, predicted, drawn) in rows]


def _count(predicted: NDArray[np.bool_], drawn: NDArray[np.bool_]) -> Sequence[int]:
    masks = (predicted & drawn, predicted, drawn)
    return [int(np.count_nonzero(mask)) for mask in masks]


def _read_regions(image: LabelImage) -> Iterator[tuple[Region, Labels]]:
    grid, side = image.canvas.grid, image.canvas.tiling.block
    for y in range(0, grid.height, side):
        for x in range(0, grid.width, side):
            region = Region(x, y, side, side).intersect(grid.region)
            yield region, read_labels(image, region)

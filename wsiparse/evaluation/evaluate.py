"""Compare a label map with its reference, region by region: memory is that of one region, whatever the slide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import ReferenceFileError
from wsiparse.evaluation.calibration import Calibration, count_calibration
from wsiparse.evaluation.coarse import RegionAgreement, count_agreement_within
from wsiparse.evaluation.confusion import Confusion, DrawnCodes
from wsiparse.evaluation.extremes import Extremes, ScoredTile, choose_side, count_tiles, find_extremes
from wsiparse.evaluation.references import Reference
from wsiparse.evaluation.scores import Score
from wsiparse.evaluation.shape import Extent, Regularity, find_extent
from wsiparse.geometry import Grid, Region
from wsiparse.maps.labels import LabelImage, read_labels, read_scores
from wsiparse.maps.recognition import Labels
from wsiparse.ontology import Target
from wsiparse.slides.levels import cut_region

ReadProbabilities = Callable[[Region], NDArray[np.uint8]]
"""Probabilities [targets, h, w] of a region, p = value / 255."""


@dataclass(frozen=True)
class Prediction:
    """The label map of one group over the whole of its grid, in regions that do not overlap."""

    grid: Grid
    targets: tuple[Target, ...]
    """The n-th has code n + 1."""
    regions: Iterable[tuple[Region, Labels]]
    """Codes [h, w] of each region; read once."""
    read_probabilities: ReadProbabilities | None = None
    """None where only the labels are known."""
    map: str = ""
    """Name of the pass that the label map belongs to."""
    side: int | None = None
    """Side of the tiles of which the worst and the best are told; None where none are."""


@dataclass(frozen=True)
class GroupEvaluation:
    """What the pixels of one group on one slide say."""

    scores: list[Score]
    """One each target that the reference covers."""
    calibrations: list[Calibration]
    """In the order of the scores; empty where the probabilities are not known."""
    confusion: Confusion | None
    """None where the reference does not cover all targets of the group, or the group has one alone."""
    regions: list[RegionAgreement]
    """One each target that the reference draws coarsely."""
    shapes: list[Regularity]
    """Of what the reference holds of each target, all its pixels as one mask; in the order of the scores."""
    extremes: dict[str, Extremes] = field(default_factory=dict)
    """The worst and the best tiles of each target that has any."""


def open_prediction(image: LabelImage) -> Prediction:
    """The label map of a run, read a block at a time; what was not written is predicted to be nothing."""
    name, side = Path(image.canvas.path).name, choose_side(image.canvas.tiling)
    return Prediction(image.canvas.grid, image.targets, _read_regions(image), partial(read_scores, image), name, side)


def evaluate_slide(slide: str, prediction: Prediction, reference: Reference) -> GroupEvaluation:
    """Compare the targets that the reference covers, at the scale of the prediction.

    Raises ReferenceFileError where ignored annotations leave nothing to compare.
    """
    sums = _Sums(slide, prediction, reference)
    for region, labels in prediction.regions:
        sums.add(region, labels)
    if sums.judged and sums.ignored == prediction.grid.region.area:
        raise ReferenceFileError(
            f"{slide}: the reference ignores all {sums.ignored} pixels; expected annotations that leave some to "
            "compare: give the unclassified ones a class, or draw the Region* on the slide"
        )
    return sums.conclude()


class _Sums:
    """Counts over the regions of a slide."""

    def __init__(self, slide: str, prediction: Prediction, reference: Reference) -> None:
        targets = enumerate(prediction.targets, start=1)
        self.judged = [(code, target.name) for code, target in targets if reference.covers(target.name)]
        self.ignored = 0
        self._slide, self._prediction, self._reference = slide, prediction, reference
        self._counts = np.zeros((len(self.judged), 3), np.int64)  # both, predicted, reference of each target
        self._extents = [Extent()] * len(self.judged)
        self._extremes = [Extremes()] * len(self.judged)
        self._histograms = np.zeros((len(self.judged), 2, 256), np.int64)
        size = len(prediction.targets) + 1
        self._pairs = np.zeros((size, size), np.int64)
        self._within = {target.name: np.zeros(3, np.int64) for target in prediction.targets}

    def add(self, region: Region, labels: Labels) -> None:
        compared = ~self._reference.draw_ignored(region, self._prediction.grid)  # [h, w]
        self.ignored += region.area - int(np.count_nonzero(compared))
        codes, said = np.where(compared, labels, 0), DrawnCodes(compared)
        read = self._prediction.read_probabilities
        maps = read(region) if read and self.judged else None  # [K, h, w]
        for row, (code, name) in enumerate(self.judged):
            drawn = self._reference.draw(name, region, self._prediction.grid) & compared
            self._add_tiles(row, region, count_tiles(codes == code, drawn, self._prediction.side or max(labels.shape)))
            self._extents[row] += find_extent(drawn, region.x, region.y)
            said.add(code, drawn)
            if maps is not None:
                calibration = count_calibration(maps[code - 1], drawn, compared)
                self._histograms[row] += (calibration.pixels, calibration.hits)
        self._add_within(region, codes, compared)
        if self._judges_all:
            self._pairs += said.count(labels, self._names).pixels

    def _add_tiles(self, row: int, region: Region, counted: Iterable[tuple[Region, Sequence[int]]]) -> None:
        tiles, (_, target) = list(counted), self.judged[row]
        self._counts[row] += np.sum([counts for _, counts in tiles], axis=0, dtype=np.int64)
        if self._prediction.side:
            placed = ((tile.shift(region.x, region.y), Score(self._slide, target, *counts)) for tile, counts in tiles)
            self._extremes[row] += find_extremes(ScoredTile(self._prediction.map, *tile) for tile in placed)

    def _add_within(self, region: Region, codes: Labels, compared: NDArray[np.bool_]) -> None:
        for code, name in enumerate(self._names, start=1):
            inside = self._reference.draw_around(name, region, self._prediction.grid)
            if inside is not None:
                self._within[name] += count_agreement_within(codes, code, inside & compared)

    def conclude(self) -> GroupEvaluation:
        names, counts = (name for _, name in self.judged), self._counts.tolist()
        rows = zip(names, counts, strict=True)
        scores = [Score(self._slide, name, both, found, drawn, self.ignored) for name, (both, found, drawn) in rows]
        known = self._prediction.read_probabilities is not None
        calibrations = [Calibration(*histogram) for histogram in self._histograms] if known else []
        confusion = Confusion(self._names, self._pairs) if self._judges_all else None
        regions = [RegionAgreement(self._slide, name, *counts.tolist()) for name, counts in self._within.items()]
        shapes = [extent.regularity for extent in self._extents]
        extremes = {name: part for (_, name), part in zip(self.judged, self._extremes, strict=True) if part.worst}
        drawn_coarsely = [region for region in regions if region.area]
        return GroupEvaluation(scores, calibrations, confusion, drawn_coarsely, shapes, extremes)

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(target.name for target in self._prediction.targets)

    @property
    def _judges_all(self) -> bool:
        return len(self.judged) == len(self._prediction.targets) > 1


def _read_regions(image: LabelImage) -> Iterator[tuple[Region, Labels]]:
    side = image.canvas.tiling.block
    for region in cut_region(image.canvas.grid.region, (side, side)):
        yield region, read_labels(image, region)

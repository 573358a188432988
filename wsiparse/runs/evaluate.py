"""A run held against its references: every measure of every slide, and the files that tell of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsiparse.annotations.outlines import Polygons
from wsiparse.annotations.parquet import read_parquet
from wsiparse.evaluation.borders import measure_slide_hd95
from wsiparse.evaluation.confusion import Confusion, pool_confusions
from wsiparse.evaluation.document import write_summary
from wsiparse.evaluation.evaluate import GroupEvaluation, Prediction, evaluate_slide, open_prediction
from wsiparse.evaluation.instances import score_instances
from wsiparse.evaluation.measures import Evaluation, Measures, keep_annotated
from wsiparse.evaluation.objects import ObjectScore
from wsiparse.evaluation.references import Reference
from wsiparse.evaluation.table import write_scores
from wsiparse.geometry import Grid, Region
from wsiparse.maps.canvas import list_canvases
from wsiparse.maps.labels import LabelImage, list_labels
from wsiparse.maps.recognition import Labels
from wsiparse.ontology import Target
from wsiparse.runs.passes import group_passes
from wsiparse.runs.references import ReferenceSource, describe_slide, find_run_references, list_finished
from wsiparse.runs.run import Run, State
from wsiparse.slides.levels import cut_region
from wsiparse.slides.slide import Slide
from wsiparse.tiles.plan import choose_grid

BLANK_SIDE = 4096
"""Side of the regions in which a slide without tissue is compared."""


def evaluate_run(run: Run, source: Path | None = None, mapping: Path | None = None, hd95: bool = False) -> Evaluation:
    """Measure every finished slide that has a reference, and write evaluation.csv and evaluation.json.

    References come from `source`, a folder of files named after the slides or a manifest, else from the run's own
    manifest; `mapping` is a file that says what a laboratory's classes mean; `hd95` asks for distances between the
    borders of regions too. Raises InputError where there is no reference, ReferenceFileError for one that cannot be
    used.
    """
    origin = ReferenceSource(source, mapping)
    references = find_run_references(run, origin)
    rows = [row for row in list_finished(run) if row.id in references.files]
    measures: list[Measures] = []
    confusions: list[Confusion] = []
    for row in rows:
        finished = _Finished(run, describe_slide(run, row), references.names.ontology.targets)
        reference = references.read(finished.slide, finished.finest_mpp)
        for part in finished.parts:
            measured = evaluate_slide(row.id, part.prediction, reference)
            measures += _join_measures(measured, finished, reference, part.image if hd95 else None)
            confusions += [measured.confusion] if measured.confusion else []
    evaluation = Evaluation(keep_annotated(measures), tuple(pool_confusions(confusions)))
    write_scores(run.path / "evaluation.csv", evaluation)
    write_summary(run.path / "evaluation.json", evaluation, origin.describe())
    return evaluation


@dataclass(frozen=True)
class _Part:
    """One group on one slide."""

    prediction: Prediction
    image: LabelImage | None
    """None on a slide without tissue."""


@dataclass(frozen=True)
class _Finished:
    """A slide that was parsed, or that showed no tissue."""

    run: Run
    slide: Slide
    targets: tuple[Target, ...]

    @cached_property
    def parts(self) -> list[_Part]:
        """Its label maps."""
        if self._is_blank:
            return [_Part(prediction, None) for prediction in _predict_nothing(self.slide, self.targets)]
        canvases = list_canvases(self.run.folder(self.slide.id) / "parse.zarr")
        return [_Part(open_prediction(image), image) for canvas in canvases for image in list_labels(canvas)]

    @property
    def finest_mpp(self) -> float:
        """The finest scale at which it is compared."""
        return min(part.prediction.grid.mpp for part in self.parts)

    @cached_property
    def objects(self) -> dict[str, Polygons]:
        """The outlines that people see, by target."""
        if self._is_blank:
            return {}
        table = read_parquet(self.run.folder(self.slide.id) / "annotations.parquet")
        return {str(target): part.geometry.to_numpy() for target, part in table.groupby("target")}

    @property
    def _is_blank(self) -> bool:
        return self.run.state(self.slide.id) is State.EMPTY


def _join_measures(
    measured: GroupEvaluation, finished: _Finished, reference: Reference, image: LabelImage | None
) -> Iterator[Measures]:
    """The measures of each target of a group; `image` where distances between borders are asked for."""
    targets = {target.name: target for target in finished.targets}
    for n, score in enumerate(measured.scores):
        calibration = measured.calibrations[n] if measured.calibrations else None
        target = targets[score.target]
        distance = measure_slide_hd95(image, target.name, reference) if image and not target.instances else math.nan
        yield Measures(score, calibration, _score_objects(target, finished, reference), distance)


def _score_objects(target: Target, finished: _Finished, reference: Reference) -> ObjectScore | None:
    if not target.instances:
        return None
    found = finished.objects.get(target.name, np.empty(0, object))
    return score_instances(found, target.name, reference, finished.slide.grid)


def _predict_nothing(slide: Slide, targets: tuple[Target, ...]) -> Iterator[Prediction]:
    """A slide on which no tissue was found says that none of its targets is there, and is scored for it."""
    for part in group_passes(targets):
        grid = choose_grid(slide, part.mpp)
        for group in part.groups.values():
            yield Prediction(grid, group, _blank_regions(grid), _Blank(len(group)))


@dataclass(frozen=True)
class _Blank:
    """Probabilities of 0 for each of so many targets."""

    targets: int

    def __call__(self, region: Region) -> NDArray[np.uint8]:
        return np.zeros((self.targets, region.height, region.width), np.uint8)


def _blank_regions(grid: Grid) -> Iterator[tuple[Region, Labels]]:
    for region in cut_region(grid.region, (BLANK_SIDE, BLANK_SIDE)):
        yield region, np.zeros((region.height, region.width), np.uint8)

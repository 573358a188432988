"""A run held against its references: every measure of every slide, and the files that tell of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from wsiparse.errors import OutputError, ReferenceFileError, SlideError
from wsiparse.evaluation.borders import measure_slide_hd95
from wsiparse.evaluation.confusion import pool_confusions
from wsiparse.evaluation.document import write_summary
from wsiparse.evaluation.evaluate import GroupEvaluation, evaluate_slide
from wsiparse.evaluation.extremes import pool_extremes
from wsiparse.evaluation.instances import score_instances
from wsiparse.evaluation.measures import Evaluation, Measures, keep_annotated
from wsiparse.evaluation.objects import ObjectScore
from wsiparse.evaluation.references import Reference
from wsiparse.evaluation.table import write_scores
from wsiparse.maps.labels import LabelImage
from wsiparse.runs.finished import FinishedSlide, find_finished
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.references import References, ReferenceSource, find_run_references
from wsiparse.runs.run import Run

NOTHING_SHOWN = (
    "the reference shows nothing of what was looked for; expected outlines or values of a target; "
    "give outlines without a class one, or name the target"
)


def evaluate_run(run: Run, source: Path | None = None, mapping: Path | None = None, hd95: bool = False) -> Evaluation:
    """Measure every finished slide that has a reference, and write evaluation.csv and evaluation.json.

    References come from `source`, a folder of files named after the slides or a manifest, else from the run's own
    manifest; `mapping` is a file that says what a laboratory's classes mean; `hd95` asks for distances between the
    borders of regions too. A slide that is not finished, or a reference that cannot be used or shows nothing to
    compare, is named in `refused` and the others are compared. Raises InputError where there is no reference,
    ReferenceFileError where nothing can be compared. What several readers agreed on goes: these may be others.
    """
    origin = ReferenceSource(source, mapping)
    references = find_run_references(run, origin)
    compared: dict[str, Evaluation] = {}
    refused: dict[str, str] = {}
    for row in [row for row in run.rows if row.id in references.files]:
        try:
            compared[row.id] = _evaluate_row(run, row, references, hd95)
        except (ReferenceFileError, SlideError, OutputError) as error:
            refused[row.id] = str(error)
    evaluation = replace(_join_slides(compared, {**refused, **references.refused}), unused=references.unused)
    _refuse_nothing_left(evaluation)
    (run.path / "agreement.json").unlink(missing_ok=True)
    write_scores(run.path / "evaluation.csv", evaluation)
    write_summary(run.path / "evaluation.json", evaluation, origin.describe())
    return evaluation


def _join_slides(compared: Mapping[str, Evaluation], refused: Mapping[str, str]) -> Evaluation:
    slides = compared.values()
    measures = [measures for slide in slides for measures in slide.measures]
    confusions = pool_confusions(confusion for slide in slides for confusion in slide.confusions)
    regions = tuple(region for slide in slides for region in slide.regions)
    kept = keep_annotated(measures)
    extremes = pool_extremes(slide.extremes for slide in slides)
    shown = {name: extremes[name] for name in dict.fromkeys(part.score.target for part in kept) if name in extremes}
    told = {part.score.slide for part in kept} | {region.slide for region in regions}
    remarks = {slide: text for part in slides for slide, text in part.remarks.items()}
    silent = {slide: "; ".join((NOTHING_SHOWN, *remarks.pop(slide, ()))) for slide in compared if slide not in told}
    return Evaluation(kept, tuple(confusions), regions, {**silent, **refused}, shown, remarks)


def _evaluate_row(run: Run, row: ManifestRow, references: References, hd95: bool) -> Evaluation:
    finished = find_finished(run, row)
    reference = references.read(finished.slide, finished.finest_mpp)
    groups = [evaluate_slide(row.id, part.prediction, reference) for part in finished.parts]
    scored = {target.name for target in finished.targets if references.tells_objects(row.id, target)}
    objects = {name: _score_objects(name, finished, reference) for name in scored}
    measures = [
        replace(measures, objects=objects.get(measures.score.target))
        for part, group in zip(finished.parts, groups, strict=True)
        for measures in _join_measures(group, finished, reference, part.image if hd95 else None)
    ]
    confusions = tuple(group.confusion for group in groups if group.confusion)
    regions = tuple(region for group in groups for region in group.regions)
    extremes = pool_extremes(group.extremes for group in groups)
    remarks = {row.id: reference.remarks} if reference.remarks else {}
    return Evaluation(tuple(measures), confusions, regions, extremes=extremes, remarks=remarks)


def _refuse_nothing_left(evaluation: Evaluation) -> None:
    if evaluation.measures or evaluation.regions:
        return
    (slide, message), *others = evaluation.refused.items()
    more = f" (nor can {len(others)} more slides be compared)" if others else ""
    raise ReferenceFileError(f"{slide}: {message}{more}")


def _join_measures(
    measured: GroupEvaluation, finished: FinishedSlide, reference: Reference, image: LabelImage | None
) -> Iterator[Measures]:
    """The measures of each target of a group but its objects; `image` where distances between borders are asked for."""
    targets = {target.name: target for target in finished.targets}
    for n, score in enumerate(measured.scores):
        calibration = measured.calibrations[n] if measured.calibrations else None
        target = targets[score.target]
        distance = measure_slide_hd95(image, target.name, reference) if image and not target.instances else math.nan
        yield Measures(score, calibration, None, distance, measured.shapes[n])


def _score_objects(target: str, finished: FinishedSlide, reference: Reference) -> ObjectScore | None:
    found = finished.objects.get(target, np.empty(0, object))
    return score_instances(found, target, reference, finished.slide.grid)

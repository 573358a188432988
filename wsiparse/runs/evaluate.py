"""A run held against its references: which files belong to which slide, and the scores as files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from wsiparse.annotations.mapping import load_mapping
from wsiparse.errors import InputError
from wsiparse.evaluation.evaluate import Prediction, evaluate_slide, open_prediction
from wsiparse.evaluation.names import TargetNames
from wsiparse.evaluation.references import ReferenceFile, find_references, read_reference
from wsiparse.evaluation.scores import Score, drop_unannotated
from wsiparse.evaluation.table import write_scores, write_summary
from wsiparse.geometry import Grid, Region
from wsiparse.maps.canvas import list_canvases
from wsiparse.maps.labels import list_labels
from wsiparse.maps.recognition import Labels
from wsiparse.ontology import Ontology, Target
from wsiparse.runs.manifest import ManifestRow, list_slides
from wsiparse.runs.passes import group_passes
from wsiparse.runs.run import Run, State
from wsiparse.slides.open import describe
from wsiparse.slides.slide import Slide
from wsiparse.tiles.plan import choose_grid

BLANK_SIDE = 4096
"""Side of the regions in which a slide without tissue is compared."""
References = Mapping[str, tuple[ReferenceFile, ...]]
"""Files of each slide's reference, by the slide's id."""


def evaluate_run(run: Run, source: Path | None = None, mapping: Path | None = None) -> list[Score]:
    """Score every finished slide that has a reference, and write evaluation.csv and evaluation.json.

    References come from `source`, a folder of files named after the slides or a manifest, else from the run's own
    manifest; `mapping` is a file that says what a laboratory's classes mean. Raises InputError where there is no
    reference, ReferenceFileError for one that cannot be used.
    """
    rows = [row for row in run.rows if run.state(row.id) in {State.DONE, State.EMPTY}]
    references = _choose_references(run, rows, source)
    targets = tuple(Target(**entry) for entry in run.record["targets"])
    meanings = load_mapping(mapping, Ontology(targets)) if mapping else {}
    names = TargetNames(Ontology(targets), tuple(target.name for target in targets), meanings)
    scores = [score for row in rows if row.id in references for score in _score(run, row, references[row.id], names)]
    compared = drop_unannotated(scores)
    write_scores(run.path / "evaluation.csv", compared)
    write_summary(run.path / "evaluation.json", compared)
    return compared


def _choose_references(run: Run, rows: list[ManifestRow], source: Path | None) -> References:
    if source is not None and source.suffix.lower() != ".csv":
        return find_references(source, [row.id for row in rows])
    named = {row.id: row for row in (list_slides([str(source)]) if source else rows) if row.reference}
    if not named:
        raise InputError(
            f"{source or run.path}: no slide has a reference; give a folder with --reference, or a manifest with a "
            "'reference' column"
        )
    return {row.id: (_file_of(named[row.id]),) for row in rows if row.id in named}


def _file_of(row: ManifestRow) -> ReferenceFile:
    """A mask's target, and whether its values number objects, stand in further columns of the manifest."""
    instances = row.extra.get("reference_instances", "").lower() in {"1", "true", "yes"}
    return ReferenceFile(Path(row.reference or ""), row.extra.get("reference_target", ""), instances)


def _score(run: Run, row: ManifestRow, files: tuple[ReferenceFile, ...], names: TargetNames) -> Iterator[Score]:
    slide = describe(row.slide, id=row.id, mpp=run.summary(row.id)["mpp"])
    blank = run.state(row.id) is State.EMPTY
    predictions = list(_predict_nothing(slide, names.ontology.targets) if blank else _open_predictions(run, row.id))
    reference = read_reference(files, slide, names, min(prediction.grid.mpp for prediction in predictions))
    for prediction in predictions:
        yield from evaluate_slide(row.id, prediction, reference)


def _open_predictions(run: Run, slide_id: str) -> Iterator[Prediction]:
    for canvas in list_canvases(run.folder(slide_id) / "parse.zarr"):
        yield from (open_prediction(image) for image in list_labels(canvas))


def _predict_nothing(slide: Slide, targets: tuple[Target, ...]) -> Iterator[Prediction]:
    """A slide on which no tissue was found says that none of its targets is there, and is scored for it."""
    for part in group_passes(targets):
        grid = choose_grid(slide, part.mpp)
        for group in part.groups.values():
            yield Prediction(grid, group, _blank_regions(grid))


def _blank_regions(grid: Grid) -> Iterator[tuple[Region, Labels]]:
    for y in range(0, grid.height, BLANK_SIDE):
        for x in range(0, grid.width, BLANK_SIDE):
            region = Region(x, y, BLANK_SIDE, BLANK_SIDE).intersect(grid.region)
            yield region, np.zeros((region.height, region.width), np.uint8)

"""How far several readers agree with each other and with the model, on the slides that all of them drew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsiparse.errors import InputError
from wsiparse.evaluation.agreement import Agreement, count_agreement
from wsiparse.evaluation.evaluate import Prediction
from wsiparse.evaluation.references import Reference
from wsiparse.evaluation.table import blank_nan
from wsiparse.files import write_json
from wsiparse.runs.finished import FinishedSlide
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.references import (
    References,
    ReferenceSource,
    describe_slide,
    find_run_references,
    list_finished,
)
from wsiparse.runs.run import Run

MODEL = "model"


@dataclass(frozen=True)
class ReaderAgreement:
    """One target as the model and several readers see it, over the same pixels."""

    target: str
    readers: tuple[str, ...]
    """The model, then the readers by the names of their folders or manifests; the agreement's rows."""
    agreement: Agreement

    @property
    def among_readers(self) -> float:
        """Mean Dice of every two readers, the model left out: what could be asked of it at most."""
        return Agreement(self.agreement.shared[1:, 1:]).mean_dice

    @property
    def of_model(self) -> float:
        """Mean Dice of the model with each reader."""
        return self.agreement.compare_reader(0)


def compare_readers(run: Run, sources: Sequence[Path], mapping: Path | None = None) -> tuple[ReaderAgreement, ...]:
    """Hold the readers of `sources` and the model against each other, and write OUT/agreement.json.

    Pixels that any reader ignores are left out, as are slides that one of them did not draw and targets that one of
    them does not speak for. Raises InputError where no slide is left, ReferenceFileError for a file that cannot be
    used.
    """
    readers = [find_run_references(run, ReferenceSource(source, mapping)) for source in sources]
    rows = [row for row in list_finished(run) if all(row.id in reader.files for reader in readers)]
    if not rows:
        raise InputError(f"{run.path}: no slide has a reference of all {len(sources)} readers; see their file names")
    sums: dict[str, Agreement] = {}
    for row in rows:
        for target, counted in _compare_slide(run, row, readers):
            sums[target] = sums[target] + counted if target in sums else counted
    names = (MODEL, *(source.stem for source in sources))
    compared = tuple(ReaderAgreement(target, names, agreement) for target, agreement in sums.items())
    write_json(run.path / "agreement.json", {"slides": len(rows), "targets": [_describe(part) for part in compared]})
    return compared


def _compare_slide(run: Run, row: ManifestRow, readers: Sequence[References]) -> Iterator[tuple[str, Agreement]]:
    finished = FinishedSlide(run, describe_slide(run, row), readers[0].names.ontology.targets)
    references = [reader.read(finished.slide, finished.finest_mpp) for reader in readers]
    for part in finished.parts:
        yield from _compare_group(part.prediction, references)


def _compare_group(prediction: Prediction, references: Sequence[Reference]) -> Iterator[tuple[str, Agreement]]:
    for region, labels in prediction.regions:
        ignored = [reference.draw_ignored(region, prediction.grid) for reference in references]
        compared = ~np.logical_or.reduce(ignored)  # [h, w]
        for code, target in enumerate(prediction.targets, start=1):
            if all(reference.covers(target.name) for reference in references):
                drawn = [reference.draw(target.name, region, prediction.grid) for reference in references]
                yield target.name, count_agreement([mask & compared for mask in (labels == code, *drawn)])


def _describe(part: ReaderAgreement) -> dict[str, Any]:
    dice = [[None if np.isnan(value) else float(value) for value in row] for row in part.agreement.dice]
    means = blank_nan({"among_readers": part.among_readers, "of_model": part.of_model})
    return {"target": part.target, "readers": part.readers, **means, "dice": dice}

"""How far several readers agree with each other and with the model, on the slides that all of them drew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from wsiparse.errors import InputError, SlideError
from wsiparse.evaluation.agreement import Agreement, count_agreement
from wsiparse.evaluation.evaluate import Prediction
from wsiparse.evaluation.references import Reference
from wsiparse.evaluation.table import blank_nan
from wsiparse.files import write_json
from wsiparse.runs.finished import find_finished
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.references import References, ReferenceSource, find_run_references, list_finished
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

    Pixels that any reader ignores are left out, as are slides that one of them did not draw or that cannot be opened,
    and targets that one of them does not speak for. Raises InputError where no slide is left or a reader is given
    twice, ReferenceFileError for a file that cannot be used.
    """
    names = (MODEL, *_name_readers(sources))
    readers = [find_run_references(run, ReferenceSource(source, mapping)) for source in sources]
    rows = [row for row in list_finished(run) if all(row.id in reader.files for reader in readers)]
    slides = [pairs for row in rows if (pairs := _compare_slide(run, row, readers)) is not None]
    if not slides:
        raise InputError(f"{run.path}: no slide has a reference of all {len(sources)} readers; see their file names")
    sums: dict[str, Agreement] = {}
    for target, counted in chain.from_iterable(slides):
        sums[target] = sums[target] + counted if target in sums else counted
    compared = tuple(ReaderAgreement(target, names, agreement) for target, agreement in sums.items())
    write_json(run.path / "agreement.json", {"slides": len(slides), "targets": [_describe(part) for part in compared]})
    return compared


def _name_readers(sources: Sequence[Path]) -> Iterator[str]:
    """Readers by the names of their folders or manifests; by their paths where these do not tell them apart."""
    places, names = [source.resolve() for source in sources], [MODEL, *(source.stem for source in sources)]
    for source, place in zip(sources, places, strict=True):
        if places.count(place) > 1:
            raise InputError(f"{source}: given as the references of two readers; expected a folder or manifest each")
        yield source.stem if names.count(source.stem) == 1 else str(place)


def _compare_slide(run: Run, row: ManifestRow, readers: Sequence[References]) -> list[tuple[str, Agreement]] | None:
    """Agreement by target; None where the slide cannot be opened any more."""
    try:
        finished = find_finished(run, row)
    except SlideError:
        return None
    references = [reader.read(finished.slide, finished.finest_mpp) for reader in readers]
    return [pair for part in finished.parts for pair in _compare_group(part.prediction, references)]


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

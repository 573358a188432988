"""How far several readers agree with each other and with the model, on the slides that all of them drew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from wsiparse.errors import InputError, OutputError, ReferenceFileError, SlideError
from wsiparse.evaluation.agreement import Agreement, count_agreement
from wsiparse.evaluation.evaluate import Prediction
from wsiparse.evaluation.references import Reference
from wsiparse.evaluation.table import blank_nan
from wsiparse.files import write_json
from wsiparse.runs.evaluate import NOTHING_SHOWN
from wsiparse.runs.finished import find_finished
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.references import References, ReferenceSource, find_run_references
from wsiparse.runs.run import Run

MODEL = "model"
_Counted = tuple[str, Agreement]
"""A target and the pixels that readers share of it."""


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


@dataclass(frozen=True)
class ReadersComparison:
    """Several readers and the model, held against each other."""

    targets: tuple[ReaderAgreement, ...]
    """Those that at least one reader drew."""
    slides: tuple[str, ...]
    """Ids of the slides that were compared."""
    undrawn: tuple[str, ...]
    """Slides that some readers drew and others did not."""
    refused: Mapping[str, str]
    """Slides that could not be used, and why."""
    unused: tuple[str, ...]
    """References that belong to no slide of the run."""


def compare_readers(run: Run, sources: Sequence[Path], mapping: Path | None = None) -> ReadersComparison:
    """Hold the readers of `sources` and the model against each other, and write OUT/agreement.json.

    Pixels that any reader ignores are left out, as are slides that one of them did not draw, or of which a file cannot
    be used, and targets that one of them does not speak for or that none of them drew. Raises InputError where no slide
    is left or a reader is given twice.
    """
    names = (MODEL, *_name_readers(sources))
    readers = [find_run_references(run, ReferenceSource(source, mapping)) for source in sources]
    drawn = [row for row in run.rows if any(row.id in reader.files for reader in readers)]
    shared = [row for row in drawn if all(row.id in reader.files for reader in readers)]
    counted, refused = _compare_slides(run, shared, readers)
    refused |= {slide: reason for reader in readers for slide, reason in reader.refused.items()}
    if not counted:
        reasons = [f"{slide}: {reason}" for slide, reason in refused.items()]
        missing = f"no slide has a reference of all {len(sources)} readers; see their file names"
        raise InputError(f"{run.path}: {next(iter(reasons), missing)}")
    used = {row.id for row in shared}
    undrawn = tuple(row.id for row in drawn if row.id not in used)
    unused = tuple(dict.fromkeys(line for reader in readers for line in reader.unused))
    compared = ReadersComparison(_add_up(names, counted.values()), tuple(counted), undrawn, refused, unused)
    write_json(run.path / "agreement.json", _describe(compared))
    return compared


def _add_up(names: tuple[str, ...], slides: Iterable[Sequence[_Counted]]) -> tuple[ReaderAgreement, ...]:
    """The targets over all slides, less those that no reader drew: whether they were looked for nobody says."""
    sums: dict[str, Agreement] = {}
    for target, counted in chain.from_iterable(slides):
        sums[target] = sums[target] + counted if target in sums else counted
    return tuple(ReaderAgreement(target, names, part) for target, part in sums.items() if part.shared[1:, 1:].any())


def _name_readers(sources: Sequence[Path]) -> Iterator[str]:
    """Readers by the names of their folders or manifests; by their paths where these do not tell them apart."""
    places, names = [source.resolve() for source in sources], [MODEL, *(source.stem for source in sources)]
    for source, place in zip(sources, places, strict=True):
        if places.count(place) > 1:
            raise InputError(f"{source}: given as the references of two readers; expected a folder or manifest each")
        yield source.stem if names.count(source.stem) == 1 else str(place)


def _compare_slides(
    run: Run, rows: Sequence[ManifestRow], readers: Sequence[References]
) -> tuple[dict[str, list[_Counted]], dict[str, str]]:
    """Agreement by slide, and the slides that cannot be used with their reasons."""
    counted: dict[str, list[_Counted]] = {}
    refused: dict[str, str] = {}
    for row in rows:
        try:
            counted[row.id] = _compare_slide(run, row, readers)
        except (ReferenceFileError, SlideError, OutputError) as error:
            refused[row.id] = str(error)
    return counted, refused


def _compare_slide(run: Run, row: ManifestRow, readers: Sequence[References]) -> list[_Counted]:
    """Agreement by target; ReferenceFileError where a reader shows nothing of what was looked for."""
    finished = find_finished(run, row)
    references = [reader.read(finished.slide, finished.finest_mpp) for reader in readers]
    for reader, reference in zip(readers, references, strict=True):
        if not any(reference.covers(target.name) for target in finished.targets):
            raise ReferenceFileError(f"{reader.files[row.id][0].path}: {NOTHING_SHOWN}")
    return [pair for part in finished.parts for pair in _compare_group(part.prediction, references)]


def _compare_group(prediction: Prediction, references: Sequence[Reference]) -> Iterator[tuple[str, Agreement]]:
    for region, labels in prediction.regions:
        ignored = [reference.draw_ignored(region, prediction.grid) for reference in references]
        compared = ~np.logical_or.reduce(ignored)  # [h, w]
        for code, target in enumerate(prediction.targets, start=1):
            if all(reference.covers(target.name) for reference in references):
                drawn = [reference.draw(target.name, region, prediction.grid) for reference in references]
                yield target.name, count_agreement([mask & compared for mask in (labels == code, *drawn)])


def _describe(compared: ReadersComparison) -> dict[str, Any]:
    slides = {"slides": len(compared.slides), "undrawn": compared.undrawn, "refused": dict(compared.refused)}
    return {**slides, "targets": [_describe_target(part) for part in compared.targets]}


def _describe_target(part: ReaderAgreement) -> dict[str, Any]:
    dice = [[None if np.isnan(value) else float(value) for value in row] for row in part.agreement.dice]
    means = blank_nan({"among_readers": part.among_readers, "of_model": part.of_model})
    return {"target": part.target, "readers": part.readers, **means, "dice": dice}

"""Which files say what the pathologists saw on the slides of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wsiparse.annotations.mapping import load_mapping
from wsiparse.errors import InputError, SlideError
from wsiparse.evaluation.names import TargetNames
from wsiparse.evaluation.references import JoinedReference, ReferenceFile, find_references, read_reference
from wsiparse.ontology import Ontology, Target
from wsiparse.runs.manifest import ManifestRow, list_slides
from wsiparse.runs.run import FINISHED, Run
from wsiparse.slides.open import describe
from wsiparse.slides.slide import Slide


@dataclass(frozen=True)
class ReferenceSource:
    """Where a run's references come from."""

    path: Path | None = None
    """A folder of files named after the slides, or a manifest; None takes the run's own manifest."""
    mapping: Path | None = None
    """A file that says what a laboratory's classes mean."""

    def describe(self) -> dict[str, str | None]:
        """The same as absolute paths, for a file."""
        paths = {"reference": self.path, "mapping": self.mapping}
        return {name: str(path.resolve()) if path else None for name, path in paths.items()}


@dataclass(frozen=True)
class References:
    """The references of a run's finished slides, found but not yet read."""

    files: Mapping[str, tuple[ReferenceFile, ...]]
    """By the slide's id; slides without one are left out."""
    names: TargetNames

    def read(self, slide: Slide, mpp: float) -> JoinedReference:
        """The reference of a slide that has one; `mpp` is the finest scale at which it will be drawn."""
        return read_reference(self.files[slide.id], slide, self.names, mpp)

    def tells_objects(self, slide: str, target: Target) -> bool:
        """Whether objects of a target are scored: those of instances, and of regions those that a mask numbers."""
        numbered = (file for file in self.files[slide] if file.instances)
        return target.instances or any(
            self.names.resolve_file(file.target, file.path) == target.name for file in numbered
        )


def find_run_references(run: Run, source: ReferenceSource) -> References:
    """Find the references of a run; InputError where there is none at all."""
    ontology = Ontology(run.targets)
    meanings = load_mapping(source.mapping, ontology) if source.mapping else {}
    names = TargetNames(ontology, tuple(target.name for target in ontology.targets), meanings)
    return References(_choose_files(run, list_finished(run), source.path), names)


def list_finished(run: Run) -> list[ManifestRow]:
    """The slides that can be compared: done, or found to be empty."""
    return [row for row in run.rows if run.state(row.id) in FINISHED]


def describe_slide(run: Run, row: ManifestRow) -> Slide:
    """A finished slide, with the µm per pixel at which it was parsed; SlideError where its file is another one now."""
    summary = run.summary(row.id)
    slide = describe(row.slide, id=row.id, mpp=summary["mpp"])
    if slide.fingerprint != summary["fingerprint"]:
        raise SlideError(
            f"{slide.path}: not the file that was parsed; bring that one back, or delete {run.folder(row.id)} and run "
            "again"
        )
    return slide


def _choose_files(run: Run, rows: list[ManifestRow], source: Path | None) -> Mapping[str, tuple[ReferenceFile, ...]]:
    if source is not None and source.suffix.lower() != ".csv":
        return find_references(source, [row.id for row in rows])
    named = {row.id: row for row in (list_slides([str(source)]) if source else rows) if row.reference}
    if not named:
        raise InputError(
            f"{source or run.path}: no slide has a reference; give a folder with --reference, or a manifest with a "
            "'reference' column"
        )
    return {row.id: (file_of(named[row.id]),) for row in rows if row.id in named}


def file_of(row: ManifestRow) -> ReferenceFile:
    """The reference of a row; a mask's target, and whether its values number objects, stand in further columns."""
    instances = row.extra.get("reference_instances", "").lower() in {"1", "true", "yes"}
    return ReferenceFile(Path(row.reference or ""), row.extra.get("reference_target", ""), instances)

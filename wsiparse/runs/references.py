"""Which files say what the pathologists saw on the slides of a run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wsiparse.annotations.mapping import load_mapping
from wsiparse.errors import InputError, SlideError
from wsiparse.evaluation.names import TargetNames
from wsiparse.evaluation.references import JoinedReference, ReferenceFile, find_references, list_unused, read_reference
from wsiparse.ontology import Ontology, Target
from wsiparse.runs.manifest import REFERENCE_INSTANCES, REFERENCE_TARGET, ManifestRow, list_slides
from wsiparse.runs.run import FINISHED, Run, State
from wsiparse.slides.open import describe
from wsiparse.slides.remote import name_remote
from wsiparse.slides.slide import Slide

Files = Mapping[str, tuple[ReferenceFile, ...]]
"""The files of references by the slide's id; slides without one are left out."""
_YES, _NO = frozenset({"1", "true", "yes"}), frozenset({"", "0", "false", "no"})


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

    files: Files
    names: TargetNames
    refused: Mapping[str, str] = field(default_factory=dict)
    """Slides that have a reference and are not finished, and why."""
    unused: tuple[str, ...] = ()
    """References that belong to no slide of the run, where a finished one has none."""

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
    """Find the references of a run: a folder's by the slides' ids or file names, a manifest's by ids or paths.

    Raises InputError where there is none at all or a manifest's row is wrong, ReferenceFileError for a folder without.
    """
    ontology = Ontology(run.targets)
    meanings = load_mapping(source.mapping, ontology) if source.mapping else {}
    names = TargetNames(ontology, tuple(target.name for target in ontology.targets), meanings)
    files, unused = _choose_files(run, source.path)
    if all(row.id in files for row in list_finished(run)):
        unused = []  # they are of other slides; where one lacks its reference, they may be misnamed
    refused = {slide: reason for slide in files if (reason := _explain_unfinished(run, slide))}
    finished = {slide: found for slide, found in files.items() if slide not in refused}
    return References(finished, names, refused, tuple(unused))


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


def _explain_unfinished(run: Run, slide: str) -> str:
    """Why a slide cannot be compared; empty where it is finished."""
    state = run.state(slide)
    if state is State.FAILED:
        return f"the slide failed: {run.failure(slide)['message']}"
    return "" if state in FINISHED else "the slide was not parsed yet; run again, then evaluate"


def _choose_files(run: Run, source: Path | None) -> tuple[Files, list[str]]:
    """The references of a run's slides, finished or not, and those that belong to none of them."""
    rows = run.rows
    if source is not None and source.suffix.lower() != ".csv":
        files = find_references(source, [row.id for row in rows], _list_file_names(rows))
        return files, [f"{path}: named after no slide of the run" for path in list_unused(source, files)]
    named = [row for row in (list_slides([str(source)]) if source else rows) if row.reference]
    if not named:
        raise InputError(
            f"{source or run.path}: no slide has a reference; give a folder with --reference, or a manifest with a "
            "'reference' column"
        )
    chosen = _match_rows(named, rows)
    if not chosen:
        raise InputError(
            f"{source}: {named[0].id!r} and all others with a reference are no slides of the run; expected its ids, "
            f"such as {rows[0].id!r}, or the paths of its slides"
        )
    used = {row.id for row in chosen.values()}
    unused = [f"{row.reference}: slide {row.id!r} is not in the run" for row in named if row.id not in used]
    return {slide: (file_of(row),) for slide, row in chosen.items()}, unused


def _list_file_names(rows: Sequence[ManifestRow]) -> dict[str, str]:
    """Ids by the names of the slides' files, with and without endings, where a name is that of one slide alone."""
    files = [(name_remote(row.slide), row.id) for row in rows]
    stems = [(Path(name).stem, slide) for name, slide in files]
    # QuPath calls an image by its whole name, and x.ome.tif without its ending x.
    shorter = [(stem[:-4], slide) for stem, slide in stems if stem.lower().endswith(".ome")]
    return {**_keep_single([*stems, *files, *shorter]), **_keep_single(stems)}


def _keep_single(names: Sequence[tuple[str, str]]) -> dict[str, str]:
    times = Counter(name for name, _ in names)
    return {name: slide for name, slide in names if times[name] == 1}


def _match_rows(named: Sequence[ManifestRow], rows: Sequence[ManifestRow]) -> dict[str, ManifestRow]:
    """The rows of a manifest by the ids that a run has for their slides: what a person gave as id, else the path."""
    ids, paths = {row.id for row in rows}, defaultdict[str, list[str]](list)
    for row in rows:
        paths[row.slide].append(row.id)
    found: dict[str, ManifestRow] = {}
    for row in sorted(named, key=lambda row: row.id_from_name):  # what a person gave comes first
        by_id = [row.id] if row.id in ids else []
        by_path = paths.get(row.slide, [])
        for slide in (by_path or by_id) if row.id_from_name else (by_id or by_path):
            found.setdefault(slide, row)
    return {row.id: found[row.id] for row in rows if row.id in found}


def file_of(row: ManifestRow) -> ReferenceFile:
    """The reference of a row; a mask's target, and whether its values number objects, stand in further columns.

    Raises InputError where the second is neither yes nor no.
    """
    target, numbered = (row.extra.get(name, "").strip() for name in (REFERENCE_TARGET, REFERENCE_INSTANCES))
    if numbered.lower() not in _YES | _NO:
        raise InputError(f"slide {row.id!r}: {REFERENCE_INSTANCES} is {numbered!r}; expected yes or no; correct it")
    return ReferenceFile(Path(row.reference or ""), target, numbered.lower() in _YES)

"""The run folder: what is done, what is left, and where it came from. State is files, nothing else."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from wsiparse.errors import DamagedError, InputError, OutputError, RunError
from wsiparse.files import name_first, read_json, remove_partials, remove_whole_folder, write_json
from wsiparse.ontology import Target, parse_target
from wsiparse.runs.identity import KnownSlides
from wsiparse.runs.manifest import ManifestRow, read_manifest, write_manifest
from wsiparse.runs.retry import lose

RECORDS = (
    "run.json",
    "slides.csv",
    "summary.csv",
    "evaluation.csv",
    "evaluation.json",
    "agreement.json",
    "report.html",
)
EXPORTS = "export"
"""Folder of what `wsiparse export` writes; it goes with the run it was made of."""
BEFORE_A_RUN = (*RECORDS, "submit")
"""What may lie in a folder that holds no run yet: batch scripts, and the traces of a run killed as it began."""


ADDRESS = re.compile(r"\w{2,}:/")
"""How addresses begin, of whose two slashes pathlib leaves one."""


class State(StrEnum):
    """Where a slide of a run stands."""

    DONE = "done"
    EMPTY = "empty"
    """No tissue was found; nothing to parse."""
    FAILED = "failed"
    PENDING = "pending"


FINISHED = frozenset({State.DONE, State.EMPTY})
"""States of slides that have a summary."""


@dataclass(frozen=True)
class Run:
    """One run's folder."""

    path: Path

    @property
    def record(self) -> dict[str, Any]:
        """run.json: settings, versions, digests, command and machine."""
        try:
            record: dict[str, Any] = read_json(self.path / "run.json")
        except DamagedError as error:
            raise RunError(
                f"{self.path}/run.json: damaged ({error.__cause__}); bring back a copy, or start anew with --overwrite"
            ) from error
        return record

    @property
    def targets(self) -> tuple[Target, ...]:
        """What the run looks for."""
        return tuple(parse_target(entry, f"{self.path}/run.json") for entry in self.record["targets"])

    @property
    def rows(self) -> list[ManifestRow]:
        """The slides of the run, as resolved when it started."""
        try:
            return read_manifest(self.path / "slides.csv")
        except InputError as error:
            raise RunError(
                f"{error}; bring back a copy of what the run wrote there, or choose another folder"
            ) from error

    def row(self, slide_id: str) -> ManifestRow:
        """One of them."""
        return next(row for row in self.rows if row.id == slide_id)

    def folder(self, slide_id: str) -> Path:
        """Where everything of one slide stands."""
        return self.path / slide_id

    def state(self, slide_id: str) -> State:
        """A slide's state, from its files alone."""
        folder = self.folder(slide_id)
        if (folder / "failed.json").exists():
            return State.FAILED
        try:
            return State(read_json(folder / "summary.json")["state"])
        except (FileNotFoundError, DamagedError):  # the second of a file that was empty when the power came back
            return State.PENDING

    def summary(self, slide_id: str) -> dict[str, Any]:
        """What a finished slide says of itself: areas, counts, seconds."""
        summary: dict[str, Any] = read_json(self.folder(slide_id) / "summary.json")
        return summary

    def parsed_file(self, slide_id: str) -> str | None:
        """Fingerprint of the file that a finished slide was parsed from; None of any other slide."""
        return str(self.summary(slide_id)["fingerprint"]) if self.state(slide_id) in FINISHED else None

    def recognize(self, rows: Sequence[ManifestRow]) -> list[ManifestRow]:
        """Rows of a command under the ids by which the run knows their slides; see `KnownSlides`."""
        return KnownSlides(self.rows, self.parsed_file, self._is_refused).recognize(rows)

    def _is_refused(self, slide_id: str) -> bool:
        return self.state(slide_id) is State.FAILED and self.failure(slide_id)["reason"] == RunError.reason

    def failure(self, slide_id: str) -> dict[str, Any]:
        """Why a slide failed: reason code, message, traceback; that nobody knows, where its file is damaged."""
        try:
            failure: dict[str, Any] = read_json(self.folder(slide_id) / "failed.json")
        except DamagedError as error:
            message = f"why is not known: failed.json is damaged ({error.__cause__}); run again with --retry-failed"
            return {"slide": slide_id, "reason": error.reason, "message": message, "traceback": ""}
        return failure

    def forget_failure(self, slide_id: str) -> None:
        """Take a slide for one that did not fail; OutputError where its folder may not be written."""
        path = self.folder(slide_id) / "failed.json"
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: cannot be removed: {error.strerror}; make its folder yours to write") from error


def refuse_lost(output: Path) -> None:
    """Raise ConnectionError where a run's folder is gone, as with a share that was lost or unmounted.

    What is written then would land in an empty folder of the same name, and be hidden when the share comes back.
    """
    if not (output / "run.json").exists():
        raise lose(
            f"{output}: the run's folder is gone; bring the share back, the same command continues where this one ended"
        )


def fingerprint_run(parts: dict[str, Any]) -> str:
    """SHA-256 of everything that decides a run's bytes; a folder is only continued under the same."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def open_run(path: str | Path) -> Run:
    """The run that lives in a folder."""
    if not (Path(path) / "run.json").exists():
        if ADDRESS.match(str(path)):
            raise RunError(f"{path}: an address, expected a folder; copy here what you need, only `status` reads there")
        raise RunError(f"{path}: no run.json; expected the output folder of `wsiparse run`")
    return Run(Path(path))


@dataclass(frozen=True)
class Start:
    """How a command takes up a folder."""

    overwrite: bool = False
    """Remove the run that is there."""
    retry_failed: bool = False
    """Try slides again that failed earlier."""
    shard: tuple[int, int] | None = None
    """(i, n): of the slides i, i + n, … alone; others take the rest."""

    def __post_init__(self) -> None:
        if self.overwrite and self.shard:
            raise InputError("--overwrite with --shard would remove what other shards wrote; say one or the other")

    def choose(self, run: Run, rows: Sequence[ManifestRow]) -> list[ManifestRow]:
        """The slides that are left to this command."""
        left = {State.PENDING, State.FAILED} if self.retry_failed else {State.PENDING}
        return [row for row in self.share(rows, run.rows) if run.state(row.id) in left]

    def share(self, rows: Sequence[ManifestRow], known: Sequence[ManifestRow] = ()) -> list[ManifestRow]:
        """The slides of this shard, by their places among those that the run knows already, and then the others.

        A slide that joins shifts none: other shards, which may have begun without it, take what this one leaves.
        """
        first, step = self.shard or (0, 1)
        places = {name: place for place, name in enumerate(dict.fromkeys(row.id for row in (*known, *rows)))}
        return [row for row in rows if places[row.id] % step == first]


CONTINUE = Start()
"""Go on where the folder stands, or begin."""


def start_run(
    path: Path, record: dict[str, Any], rows: Sequence[ManifestRow], start: Start
) -> tuple[Run, Sequence[ManifestRow]]:
    """Start a run in a folder, or continue the one that is there if its fingerprint is the same; the run and the rows.

    Slides that the folder already knows are kept beside the new ones, and keep their ids; run.json is that of the
    first start, whichever of several shards it was. Raises RunError where the folder holds another run or other files;
    overwriting removes the other run's results first, and nothing that is not a run's.
    """
    run = Run(path)
    _make_folder(path)
    if start.overwrite and (path / "run.json").exists():
        _clear(run)
    if (path / "run.json").exists():
        refuse_other(run, record["fingerprint"])
        rows = run.recognize(rows)
        _refuse_changed(run, rows, record["config"]["mpp"])
        known = run.rows
    else:
        _refuse_files(path)
        known = []
    if not start.shard:  # other shards may be writing
        remove_partials(path)
    write_manifest(path / "slides.csv", list({row.id: row for row in (*known, *rows)}.values()))
    _write_first(path / "run.json", record)
    refuse_other(run, record["fingerprint"])
    return run, rows


def _refuse_files(path: Path) -> None:
    foreign = [file.name for file in path.iterdir() if file.name not in BEFORE_A_RUN and not file.name.startswith(".")]
    # A shard that starts at the same moment may have come first, and its slides with it.
    if foreign and not (path / "run.json").exists():
        raise RunError(f"{path}: the folder holds files but no run; choose an empty or new folder")


def _write_first(path: Path, record: dict[str, Any]) -> None:
    """Write run.json unless it is there; of several that write it at once, the first one's stays."""
    mine = path.with_name(f".run.json.{uuid.uuid4().hex}.partial")
    write_json(mine, record)
    try:
        name_first(mine, path)
    except FileExistsError:
        return
    finally:
        mine.unlink(missing_ok=True)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / ".writable").touch()
        (path / ".writable").unlink()
    except OSError as error:
        raise OutputError(f"{path}: cannot write: {error.strerror}; choose another output folder") from error


def _clear(run: Run) -> None:
    """Remove a run, each folder in one step: who stops in between leaves slides that are done or not begun."""
    try:
        for name in (*(row.id for row in run.rows), EXPORTS):
            remove_whole_folder(run.path / name)
        for name in RECORDS:
            (run.path / name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{run.path}: the run there cannot be removed: {error.strerror}; choose another output folder"
        ) from error


def refuse_other(run: Run, fingerprint: str) -> None:
    """Raise RunError where a folder holds a run of another fingerprint."""
    found = run.record["fingerprint"]
    if found != fingerprint:
        raise RunError(
            f"{run.path}: holds a run of another model, targets, settings or version ({found[:8]}, this command is "
            f"{fingerprint[:8]}); choose another folder or start anew with --overwrite"
        )


def _refuse_changed(run: Run, rows: Sequence[ManifestRow], mpp: float | None) -> None:
    """Raise RunError where a slide that is done was parsed at another scale or for other targets than are asked now."""
    known = {row.id: row for row in run.rows}
    for row in rows:
        before = known.get(row.id, row)
        # The files of a slide are looked at only where they may tell: a share is slow, and a cohort large.
        may_differ = mpp or (row.mpp, row.targets, row.site) != (before.mpp, before.targets, before.site)
        if may_differ and run.state(row.id) in FINISHED:
            _refuse_other_asking(run, before, row, mpp)


def _refuse_other_asking(run: Run, before: ManifestRow, row: ManifestRow, mpp: float | None) -> None:
    summary = run.summary(row.id)
    was, asked = _describe_asking(before, summary, None), _describe_asking(row, summary, mpp)
    if was != asked:
        raise RunError(
            f"slide {row.id} is done as {was} and {asked} is asked for now; delete {run.folder(row.id)} to parse it "
            "anew, or restore what changed"
        )


def _describe_asking(row: ManifestRow, summary: dict[str, Any], mpp: float | None) -> str:
    given = row.mpp or (mpp or summary["mpp"] if summary["mpp_source"] == "settings" else None)
    targets = ", ".join(sorted(row.targets)) or "all targets"
    return f"mpp {given or 'of its file'}, {targets}, site {row.site or 'of the run'}"

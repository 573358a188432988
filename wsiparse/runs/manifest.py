"""The manifest: which slides a run is about, and what is known of each."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from wsiparse.errors import InputError
from wsiparse.files import read_text, settle_file, write_whole
from wsiparse.slides.formats import find_slides, is_slide_folder
from wsiparse.slides.remote import is_remote, name_remote

COLUMNS = ("id", "slide", "mpp", "reference", "targets", "site")
REFERENCE_TARGET, REFERENCE_INSTANCES = "reference_target", "reference_instances"
"""Columns of what a mask shows, and of whether its values number objects; they stand among a row's others."""
TAKEN = re.compile(r"submit|export|.*\.(json|csv|html)", re.IGNORECASE)
"""Names in a run's folder that its own files and folders have or may come to have."""

UNNAMEABLE = frozenset("\r\n\0")
"""What no path may hold, though other cells of a manifest do."""


class ManifestRow(BaseModel):
    """One slide of a cohort."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=120)
    """Unique in the manifest and safe as a file name."""
    slide: str
    """Path of the slide; relative ones are relative to the manifest."""
    mpp: float | None = Field(default=None, gt=0)
    """µm per pixel of level 0; wins over what the file says."""
    reference: str | None = None
    """Path of the pathologist's labels."""
    targets: tuple[str, ...] = ()
    """Targets of this slide alone; empty takes the run's."""
    site: str | None = None
    """Tissue that the prompts name; None takes the run's."""
    extra: dict[str, str] = {}
    """Any other columns, kept as they are."""
    id_from_name: bool = Field(default=False, exclude=True)
    """Whether nobody gave the id: it was made from the file's name, and another slide may have it already."""
    is_bare: bool = Field(default=False, exclude=True)
    """Whether a path or its folder named the slide, and no manifest, so that nothing was said of it."""

    @property
    def asks(self) -> tuple[object, ...]:
        """What it wants for its slide that other slides may not have."""
        return self.mpp, self.reference, self.targets, self.site

    @field_validator("targets", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(";") if part.strip()) if isinstance(value, str) else value


def list_slides(sources: Sequence[str]) -> list[ManifestRow]:
    """The slides that paths name: slide files, folders of slides and manifests (.csv), in that order, ids unique."""
    rows = [
        row for source in sources for row in ([_row_of_url(source)] if is_remote(source) else _rows_of(Path(source)))
    ]
    if not rows:
        raise InputError(
            f"{' '.join(sources)}: no slide found; expected slide files, folders of slides or a CSV manifest"
        )
    rows = _unique_ids(rows)
    _refuse_taken(rows)
    return rows


def _rows_of(source: Path) -> Iterable[ManifestRow]:
    if source.suffix.lower() == ".csv":
        return read_manifest(source)
    try:
        return [_row_of_file(path) for path in _find_slides(source)]
    except OSError as error:
        raise InputError(
            f"{source}: cannot be looked at ({error.strerror}); check your rights and the share"
        ) from error


def _find_slides(source: Path) -> list[Path]:
    if source.is_dir() and not is_slide_folder(source):
        return find_slides(source)
    if not source.exists():
        raise InputError(f"{source}: no such file; expected a slide, a folder of slides or a CSV manifest")
    return [source]


def _row_of_file(path: Path) -> ManifestRow:
    return ManifestRow(id=_name_safely(path.stem), slide=_resolve(path), id_from_name=True, is_bare=True)


def _row_of_url(url: str) -> ManifestRow:
    return ManifestRow(id=_name_safely(Path(name_remote(url)).stem), slide=url, id_from_name=True, is_bare=True)


def _resolve(path: Path) -> str:
    """The absolute path, as text that a run's files can hold."""
    if UNNAMEABLE.intersection(str(path)):
        raise InputError(f"{str(path)!r}: the name has a line break, expected one without; rename it")
    text = os.path.realpath(path)  # pathlib's own raises at links that go in a circle: that slide fails, not all
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{text!r}: the name is not UTF-8, expected one that is; rename it") from error
    return text


def _name_safely(stem: str) -> str:
    return (re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or "slide")[:100]


def _unique_ids(rows: list[ManifestRow]) -> list[ManifestRow]:
    """Tell slides of one stem apart by a short hash of their path, so that none overwrites another.

    The first keeps the id that it has alone: a run that is continued with more slides knows it again. Ids that were
    made differ in more than capitals: to portable disks, Windows and macOS these are one folder.
    """
    rows = _join_twins(rows)
    first = {row.id: row for row in reversed(rows)}
    alike = {row.id.casefold(): row for row in reversed(rows)}
    kept = [(alike[row.id.casefold()] if row.id_from_name else first[row.id]) is row for row in rows]
    return [row if is_kept else tell_apart(row) for row, is_kept in zip(rows, kept, strict=True)]


def _join_twins(rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    """Each slide once, though a manifest may ask for it under two ids; where a folder names it too, the manifest's row.

    Raises InputError where two manifests want different things of one.
    """
    said, found = {row.slide for row in rows if not row.is_bare}, dict[tuple[str, str], ManifestRow]()
    for row in rows:
        if row.is_bare and row.slide in said:
            continue
        if row.asks != found.setdefault((row.id, row.slide), row).asks:
            raise InputError(
                f"{row.slide}: two manifests want another mpp, reference, site or other targets of it; expected one "
                "row for each slide, delete the other"
            )
    return list(found.values())


def tell_apart(row: ManifestRow) -> ManifestRow:
    """The row under another id than a slide of the same name has, made from its path."""
    return row.model_copy(update={"id": f"{row.id}-{hashlib.sha256(row.slide.encode()).hexdigest()[:6]}"})


def _refuse_taken(rows: Sequence[ManifestRow]) -> None:
    for row in rows:
        if TAKEN.fullmatch(row.id):
            raise InputError(f"{row.slide}: id {row.id!r} is a name of the run's own files; give another in a manifest")


def read_manifest(path: Path) -> list[ManifestRow]:
    """Read a CSV with a `slide` column and, as wanted, id, mpp, reference, targets (by ';'), site and any others."""
    try:
        # Strict, or else a stray " takes the lines below it into its cell.
        reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
        columns = reader.fieldnames = [*_name_columns(reader.fieldnames or [])]
        records = [*number_records(reader, f"manifest {path}")]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"manifest {path}: {error}; expected a CSV file with a 'slide' column") from error
    _check_columns(columns, path)
    rows = [_parse_row(record, path, number) for number, record in records]
    _refuse_twins(rows, path)
    return rows


def number_records(reader: csv.DictReader[str], source: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Records, each with the line that it ends on; InputError that names their source for a stray quotation mark."""
    last = reader.line_num
    try:
        for record in reader:
            last = reader.line_num
            yield last, record
    except csv.Error as error:
        raise InputError(
            f"{source}, line {last + 1}: {error}; look there for a stray quotation mark; they stand at both "
            "ends of a cell, and doubled inside"
        ) from error


def _check_columns(columns: Sequence[str], path: Path) -> None:
    if "slide" not in columns:
        raise InputError(f"manifest {path}: columns {list(columns)}; expected one named 'slide'")
    doubled = [name for name, times in Counter(columns).items() if times > 1 and name.strip()]
    if doubled:
        raise InputError(f"manifest {path}: several columns named {doubled[0]!r}, expected one; rename the others")


def _name_columns(header: Sequence[str]) -> Iterator[str]:
    """Columns by the names that are known here, whatever blanks and capitals they are written with; others as given."""
    for name in header:
        plain = name.strip().lower()
        yield plain if plain in (*COLUMNS, REFERENCE_TARGET, REFERENCE_INSTANCES) and plain not in header else name


def _refuse_twins(rows: list[ManifestRow], path: Path) -> None:
    twins = [name for name, times in Counter(row.id for row in rows).items() if times > 1]
    if twins:
        raise InputError(f"manifest {path}: id {twins[0]!r} stands on several lines; give each slide its own id")


def _parse_row(record: dict[str, Any], path: Path, number: int) -> ManifestRow:
    _refuse_beyond(record, path, number)
    known: dict[str, Any] = {column: text for column in COLUMNS if (text := (record.get(column) or "").strip())}
    extra = {key: value or "" for key, value in record.items() if key not in COLUMNS and key is not None}
    if not known.get("slide"):
        raise InputError(f"manifest {path}, line {number}: no slide given; fill the 'slide' column or delete the line")
    for column in [name for name in ("slide", "reference") if name in known]:
        if UNNAMEABLE.intersection(known[column]):
            raise InputError(
                f"manifest {path}, line {number}: column {column!r} is {known[column]!r}, expected a path on one line; "
                "look for a stray quotation mark"
            )
        known[column] = known[column] if is_remote(known[column]) else _resolve(path.parent / known[column])
    made = {"id": _name_safely(Path(name_remote(known["slide"])).stem), "id_from_name": "id" not in known}
    try:
        return ManifestRow(**{**made, **known}, extra=extra)
    except ValidationError as error:
        first = error.errors()[0]
        message = f"column {first['loc'][0]!r} is {first['input']!r}: {first['msg']}"
        raise InputError(f"manifest {path}, line {number}: {message}") from error


def _refuse_beyond(record: dict[Any, Any], path: Path, number: int) -> None:
    """Raise InputError for a row of more cells than there are columns: of `nuclei,stroma` the second would be lost."""
    if beyond := [text for text in record.get(None, ()) if text.strip()]:
        raise InputError(
            f"manifest {path}, line {number}: {beyond[0]!r} stands beyond the last column; put cells that have commas "
            "in quotation marks, and ';' between targets"
        )


def write_manifest(path: Path, rows: Sequence[ManifestRow]) -> None:
    """Write the rows as resolved, extra columns included, as a manifest again that outlasts a power loss.

    Raises OutputError where the disk could not keep it.
    """
    extra = list(dict.fromkeys(key for row in rows for key in row.extra))
    with write_whole(path) as partial:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*COLUMNS, *extra])
            for row in rows:
                known = [row.id, row.slide, row.mpp or "", row.reference or "", ";".join(row.targets), row.site or ""]
                writer.writerow([*known, *(row.extra.get(key, "") for key in extra)])
        settle_file(partial)

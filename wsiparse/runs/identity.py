"""Which slides of a run a command names again: by their paths, or by their files where a project was moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wsiparse.errors import RunError, SlideError
from wsiparse.runs.manifest import ManifestRow, tell_apart
from wsiparse.slides.open import describe
from wsiparse.slides.remote import is_remote


@dataclass(frozen=True)
class KnownSlides:
    """The slides of a run, as its slides.csv has them."""

    rows: Sequence[ManifestRow]
    parsed: Callable[[str], str | None]
    """Fingerprint of the file that was parsed under an id; None where that slide is not finished."""
    refused: Callable[[str], bool]
    """Whether what was last wanted of an id does not go with what was begun."""

    def recognize(self, rows: Sequence[ManifestRow]) -> list[ManifestRow]:
        """The rows of a command under the ids by which the run knows their slides.

        An id that was made from a file's name gives way to another slide's, which keeps it. What the run was told of a
        slide by a manifest stands where a path alone names it again, unless it was refused. Raises RunError where a
        person gave the id of a slide that is finished to another file.
        """
        asked, found = {row.slide for row in rows}, dict[str, ManifestRow]()
        for row in (self._recall(self._recognize_one(row, asked)) for row in rows):
            if row.id not in found or not row.id_from_name:  # a manifest's row knows more than a folder
                found[row.id] = row
        return list(found.values())

    @cached_property
    def _by_id(self) -> dict[str, ManifestRow]:
        return {row.id: row for row in self.rows}

    @cached_property
    def _ids(self) -> dict[str, str]:
        return {row.slide: row.id for row in reversed(self.rows)}

    @cached_property
    def _alike(self) -> set[str]:
        """Ids but for their capitals, which some disks do not tell apart."""
        return {row.id.casefold() for row in self.rows}

    def _recognize_one(self, row: ManifestRow, asked: set[str]) -> ManifestRow:
        known = self._by_id.get(row.id)
        if known and known.slide == row.slide:
            return row
        if row.id_from_name and row.slide in self._ids:
            return row.model_copy(update={"id": self._ids[row.slide]})
        if known is None and row.id_from_name and row.id.casefold() in self._alike:
            return tell_apart(row)
        if known is None or self._has_moved(known, row, asked):
            return row
        if row.id_from_name:
            return tell_apart(row)
        raise RunError(
            f"id {row.id!r} is {known.slide} in this run and {row.slide} now, which is not the same file; give one "
            "another id"
        )

    def _recall(self, row: ManifestRow) -> ManifestRow:
        known = self._by_id.get(row.id) if row.is_bare and not self.refused(row.id) else None
        return known.model_copy(update={"slide": row.slide, "id_from_name": True, "is_bare": True}) if known else row

    def _has_moved(self, known: ManifestRow, row: ManifestRow, asked: set[str]) -> bool:
        """Whether a row's path is where the known slide of its id lies now."""
        if known.slide in asked:
            return False
        fingerprint = self.parsed(row.id)
        if fingerprint:
            return _read_fingerprint(row.slide) == fingerprint
        # Of a slide that is not finished nothing tells but the id: a person's word, or a name that others may have.
        return not row.id_from_name or not (is_remote(known.slide) or Path(known.slide).exists())


def _read_fingerprint(slide: str) -> str | None:
    """That of a slide's file; None where it cannot be opened, or would have to be fetched first."""
    try:
        return None if is_remote(slide) else describe(slide, mpp=1.0).fingerprint  # any µm per pixel will do
    except SlideError:
        return None

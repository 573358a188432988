"""The table of examples: which image goes with which mask, what it shows, and in which part it belongs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from wsiparse.annotations.classes import is_ignored
from wsiparse.errors import InputError
from wsiparse.files import read_text
from wsiparse.runs.manifest import number_records
from wsiparse.slides.mpp import PLAUSIBLE_MPP

PARTS = ("train", "test", "excluded")
COLUMNS = ("image", "mask", "present", "case", "part")


@dataclass(frozen=True)
class Example:
    """One image and its mask, as one row of an examples table."""

    image: Path
    mask: Path
    """Labels of the same size; every non-zero pixel is each of the `present` targets."""
    present: tuple[str, ...]
    """Names of the targets that the mask outlines; the others of their groups are known to be absent.

    `Ignore*` alone: the mask hides its pixels, for nobody says what they show.
    """
    case: str
    """Examples of one case (patient, slide) stay in one part."""
    part: str
    """`train`, `test` (kept apart, only measured) or `excluded`."""
    absent: tuple[str, ...] = ()
    """Names of targets that the image is known to show nowhere; a row of these alone needs no mask."""
    mpp: float | None = None
    """µm per pixel of the image, where the table knows it."""

    @property
    def hides(self) -> bool:
        """True where the mask outlines nothing, but marks what is unknown."""
        return bool(self.present) and all(map(is_ignored, self.present))

    @property
    def is_bare(self) -> bool:
        """True where only what the image does not show is told, and no mask is read."""
        return bool(self.absent) and not self.present


def read_examples(table: str | Path, data: str | Path, find_case: Callable[[str], str] = str) -> list[Example]:
    """The rows of a CSV: image, mask, present (names parted by `;`), case, part; where there are such, absent and mpp.

    Image and mask are relative to the folder `data`; an empty case is what `find_case` makes of the image's name.
    InputError where a column is missing, and by its line for a row without image or mask, of an unknown part or with an
    mpp that cannot be.
    """
    source = f"examples {table}"
    try:
        # Unless it is strict, a stray " takes the lines below it into its cell.
        reader = csv.DictReader(io.StringIO(read_text(Path(table)), newline=""), restval="", strict=True)
        columns = reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or []]
        rows = [(f"{source}, line {line}", _strip(row)) for line, row in number_records(reader, source)]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{source}: {error}; expected a CSV in UTF-8 with columns {COLUMNS}") from error
    if not rows or not set(COLUMNS) <= set(columns):
        raise InputError(
            f"{source}: {len(rows)} rows, columns {columns}, expected {list(COLUMNS)}, parted by commas; complete the "
            "table"
        )
    parsed = [_parse_row(cells, Path(data), line) for line, cells in rows]
    return [row if row.case else replace(row, case=find_case(row.image.stem)) for row in parsed]


def _strip(row: Mapping[str, object]) -> dict[str, str]:
    return {column: text.strip() for column, text in row.items() if isinstance(text, str)}


def check_part(part: str, source: str) -> str:
    """The part, in small letters, if it is one; else InputError that names its source."""
    if part.lower() not in PARTS:
        raise InputError(f"{source}: part {part!r}, expected one of {PARTS}; correct the table")
    return part.lower()


def _parse_row(cells: Mapping[str, str], data: Path, line: str) -> Example:
    part, mpp = check_part(cells["part"], line), _parse_mpp(cells.get("mpp", ""), line)
    present, absent = (_split_names(cells.get(column, "")) for column in ("present", "absent"))
    image, mask = data / cells["image"], data / cells["mask"]
    example = Example(image, mask, present, cells["case"], part, absent, mpp)
    if not cells["image"] or not (cells["mask"] or example.is_bare or part == "excluded"):
        missing = "mask" if cells["image"] else "image"
        raise InputError(f"{line}: no {missing} given; expected a path; fill the column, or delete the line")
    return example


def _parse_mpp(text: str, line: str) -> float | None:
    low, high = PLAUSIBLE_MPP
    with suppress(ValueError):
        if not text or low <= float(text) <= high:
            return float(text) if text else None
    raise InputError(f"{line}: mpp {text!r}; expected {low} to {high:g} µm per pixel, or nothing; correct the table")


def _split_names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(";") if name.strip())


def group_images(examples: Sequence[Example]) -> list[tuple[Example, ...]]:
    """The examples of each image, in the order in which the images first stand.

    Raises InputError where those of one image are of several parts or cases.
    """
    groups: dict[Path, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.image, []).append(example)
    for image, group in groups.items():
        for kind, found in (("part", {one.part for one in group}), ("case", {one.case for one in group})):
            if len(found) > 1:
                names = " and ".join(map(repr, sorted(found)))
                raise InputError(f"{image}: rows of {kind} {names}; expected one for all its masks; correct the table")
    return [tuple(group) for group in groups.values()]

"""The table of examples: which image goes with which mask, what it shows, and in which part it belongs."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wsiparse.annotations.classes import is_ignored
from wsiparse.errors import InputError

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


def read_examples(table: str | Path, data: str | Path) -> list[Example]:
    """The rows of a CSV: image, mask, present (names parted by `;`), case, part; where there are such, absent and mpp.

    Image and mask are relative to the folder `data`. InputError where a column is missing, a part is unknown or an mpp
    is no number above 0.
    """
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"examples {table}: {error}; expected a CSV with columns {COLUMNS}") from error
    if not rows or not set(COLUMNS) <= set(rows[0]):
        found = list(rows[0]) if rows else []
        raise InputError(f"examples {table}: columns {found}, expected {list(COLUMNS)}; complete the table")
    for row in rows:
        check_part(row["part"], f"examples {table}")
    try:
        return [_parse_row(row, Path(data)) for row in rows]
    except ValueError as error:
        raise InputError(f"examples {table}: mpp {error}; expected µm per pixel above 0, or nothing") from error


def check_part(part: str, source: str) -> str:
    """The part, if it is one; else InputError that names its source."""
    if part not in PARTS:
        raise InputError(f"{source}: part {part!r}, expected one of {PARTS}; correct the table")
    return part


def _parse_row(row: Mapping[str, str], data: Path) -> Example:
    present, absent = (_split_names(row.get(column) or "") for column in ("present", "absent"))
    text = (row.get("mpp") or "").strip()
    mpp = _parse_mpp(text) if text else None
    return Example(data / row["image"], data / row["mask"], present, row["case"], row["part"], absent, mpp)


def _parse_mpp(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise ValueError(repr(text))


def _split_names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(";") if name.strip())


def group_images(examples: Sequence[Example]) -> list[tuple[Example, ...]]:
    """The examples of each image, in the order in which the images first stand."""
    groups: dict[Path, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.image, []).append(example)
    return [tuple(group) for group in groups.values()]

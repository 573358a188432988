"""Examples to learn from: images with a mask of the targets that are present in them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from wsiparse.errors import InputError, ReferenceFileError, TargetError
from wsiparse.ontology import Ontology

PARTS = ("train", "test", "excluded")
COLUMNS = ("image", "mask", "present", "case", "part")


@dataclass(frozen=True)
class Example:
    """One image and its mask, as one row of an examples table."""

    image: Path
    mask: Path
    """Labels of the same size; every non-zero pixel is each of the `present` targets."""
    present: tuple[str, ...]
    """Names of the targets that the mask outlines; the others of their groups are known to be absent."""
    case: str
    """Examples of one case (patient, slide) stay in one part."""
    part: str
    """`train`, `test` (kept apart, only measured) or `excluded`."""


@dataclass(frozen=True)
class Picture:
    """An example's pixels in memory."""

    pixels: NDArray[np.uint8]  # [H, W, 3]
    mask: NDArray[np.bool_]  # [H, W]
    present: tuple[str, ...]


def read_examples(table: str | Path, data: str | Path) -> list[Example]:
    """The rows of a CSV with the columns image, mask, present (names parted by `;`), case and part.

    Image and mask are relative to the folder `data`. InputError where a column is missing, a part is unknown, or a
    case lies in both parts.
    """
    try:
        with open(table, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"examples {table}: {error.strerror}; expected a CSV with columns {COLUMNS}") from error
    if not rows or not set(COLUMNS) <= set(rows[0]):
        found = list(rows[0]) if rows else []
        raise InputError(f"examples {table}: columns {found}, expected {list(COLUMNS)}; complete the table")
    examples = [_parse_row(row, Path(data)) for row in rows]
    _check_parts(examples, str(table))
    return examples


def _parse_row(row: Mapping[str, str], data: Path) -> Example:
    names = tuple(name.strip() for name in row["present"].split(";") if name.strip())
    return Example(data / row["image"], data / row["mask"], names, row["case"], row["part"])


def _check_parts(examples: Sequence[Example], table: str) -> None:
    parts: dict[str, str] = {}
    for example in examples:
        if example.part not in PARTS:
            raise InputError(f"examples {table}: part {example.part!r}, expected one of {PARTS}; correct the table")
        if example.part != "excluded" and parts.setdefault(example.case, example.part) != example.part:
            raise InputError(f"examples {table}: case {example.case!r} is in train and test; keep it in one part")


def load_picture(example: Example) -> Picture:
    """The pixels and the mask of an example; ReferenceFileError where they cannot be read or differ in size."""
    try:
        with Image.open(example.image) as image, Image.open(example.mask) as mask:
            picture = Picture(np.asarray(image.convert("RGB")), np.asarray(mask) > 0, example.present)
    except (OSError, UnidentifiedImageError) as error:
        raise ReferenceFileError(f"{example.image.name}: {error}; expected an image and its mask") from error
    if picture.pixels.shape[:2] != picture.mask.shape:
        raise ReferenceFileError(
            f"{example.image.name}: image {picture.pixels.shape[:2]}, mask {picture.mask.shape}; expected equal sizes"
        )
    return picture


def weigh_pictures(pictures: Sequence[Picture], boost: Mapping[str, float]) -> NDArray[np.float64]:
    """How often to draw each picture; they sum to 1.

    A set of present targets weighs as the square root of its count, so that rare ones are seen, times the largest
    `boost` of its names.
    """
    counts = Counter(picture.present for picture in pictures)
    weights = np.array([counts[p.present] ** -0.5 * max(boost.get(n, 1.0) for n in p.present) for p in pictures])
    total: float = weights.sum()
    return weights / total


@dataclass(frozen=True)
class Supervision:
    """What examples say about each target, from the groups of the ontology."""

    names: tuple[str, ...]
    groups: tuple[str, ...]

    @classmethod
    def of(cls, ontology: Ontology) -> Supervision:
        """The columns of an ontology, in its order."""
        return cls(tuple(t.name for t in ontology.targets), tuple(t.group for t in ontology.targets))

    def mark_present(self, present: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which targets the mask outlines [K], and which are known at all [K]: all of a present target's group."""
        if unknown := sorted(set(present) - set(self.names)):
            raise TargetError(
                f"examples name {unknown[0]!r}, expected one of {list(self.names)}; add it to the ontology"
            )
        outlined = np.array([name in present for name in self.names])
        groups = {group for group, there in zip(self.groups, outlined, strict=True) if there}
        return outlined, np.array([group in groups for group in self.groups])

    def weigh_columns(self) -> NDArray[np.float32]:
        """Weights [K] by which every group counts the same in the loss, however many targets it has."""
        sizes = Counter(self.groups)
        return np.array([1 / sizes[group] for group in self.groups], np.float32)

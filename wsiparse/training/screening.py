"""What is wrong with training data: skipped with a count, or refused by name; never learned from unsaid."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from wsiparse.errors import InputError, ReferenceFileError, SlideError, WsiparseError
from wsiparse.ontology import Ontology
from wsiparse.training.apart import drop_apart, list_parted
from wsiparse.training.dataset import Picture, Sample, load_picture
from wsiparse.training.examples import Example

_SHOWN = 3


@dataclass
class Screening:
    """Gathers what is left out and what cannot be used, so that a person learns of all of it at once."""

    skipped: dict[str, list[str]] = field(default_factory=dict)
    """Names of what is left out, by reason."""
    remarks: list[str] = field(default_factory=list)
    """What a person should know of references that were read otherwise than they were drawn."""
    wrong: list[str] = field(default_factory=list)
    """Messages about what must be put right first."""

    def skip(self, reason: str, name: str) -> None:
        """Leave something out."""
        self.skipped.setdefault(reason, []).append(name)

    def refuse(self, error: WsiparseError) -> None:
        """Remember an error, to be raised with the others."""
        self.wrong.append(str(error))

    def close(self) -> None:
        """Raise InputError with the first of what was wrong and how much more there is."""
        if self.wrong:
            more = f" (and {len(self.wrong) - 1} more such)" if len(self.wrong) > 1 else ""
            raise InputError(f"{self.wrong[0]}{more}; correct the files, or take them out of the data")

    def describe(self) -> list[str]:
        """One line a reason: how many were left out, and the first of them by name; then the remarks."""
        skipped = [f"skipped {len(names)}: {reason} ({_list_first(names)})" for reason, names in self.skipped.items()]
        return [*skipped, *self.remarks]


def _list_first(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def load_screened(groups: Iterable[Sequence[Example]], screening: Screening) -> list[Picture]:
    """The pictures of examples that share an image, without those whose mask is empty or all foreground.

    Of several masks of an image the empty ones alone are left out.
    """
    pictures = []
    for group in groups:
        try:
            picture = load_picture(*group)
        except (ReferenceFileError, SlideError) as error:
            screening.refuse(error)
            continue
        name, sound = group[0].image.name, drop_empty(picture)
        if sound is not picture:
            screening.skip("empty mask beside others", name)
        if reason := find_fault(sound):
            screening.skip(reason, name)
        else:
            pictures.append(sound)
    return pictures


def drop_empty(picture: Picture) -> Picture:
    """The picture without its empty masks, which say nothing of their targets; as it is where all or none are empty."""
    kept = [n for n, mask in enumerate(picture.masks) if mask.any()]
    if len(kept) in (0, len(picture.masks)):
        return picture
    return replace(picture, masks=picture.masks[kept], layers=tuple(picture.layers[n] for n in kept))


def find_fault(picture: Picture) -> str:
    """Why a picture teaches nothing, in words; empty where it is sound."""
    if picture.absent and not picture.layers:
        return ""
    filled = picture.masks.mean((1, 2), dtype=np.float64)
    if not filled.size or not picture.present:
        return "no target is named"
    if (filled == 0).any():
        return "empty mask"
    return "all-foreground mask" if (filled == 1).any() else ""


def refuse_untaught(ontology: Ontology, samples: Sequence[Sample], others: Sequence[str]) -> None:
    """Raise InputError where a target has no example to learn from, with lines about what is no such: `others`."""
    shown = {name for sample in samples for name in sample.present}
    if untaught := [target.name for target in drop_apart(ontology).targets if target.name not in shown]:
        raise InputError(
            f"no training example shows {_list_first([repr(name) for name in untaught])} "
            f"({'; '.join([f'{len(samples)} samples to learn from', *others])}); expected some of every target; add "
            "data, put into train what is kept apart, or take it out of targets"
        )
    for whole, apart in list_parted(ontology):
        if ontology.targets[apart].name not in shown:
            raise InputError(
                f"apart names {ontology.targets[whole].name!r}, whose objects no training example tells apart; "
                "expected outlines, or masks whose values number them; take it out of apart"
            )


def refuse_shared_cases(placed: Iterable[tuple[str, str]]) -> None:
    """Raise InputError for a case that stands both in `train` and in `test`; `placed` are cases with their parts."""
    parts: dict[str, str] = {}
    for case, part in placed:
        if part != "excluded" and parts.setdefault(case, part) != part:
            raise InputError(f"case {case!r} is in train and test; keep it in one part")


def refuse_copies(prints: Iterable[tuple[str, str, str]]) -> None:
    """Raise InputError for an image that stands in `train` and, byte for byte, in `test`, under any name.

    `prints` are a digest, a name and a part each.
    """
    seen: dict[str, tuple[str, str]] = {}
    for digest, name, part in prints:
        first, other = seen.setdefault(digest, (name, part))
        if other != part:
            raise InputError(f"{first} ({other}) and {name} ({part}) are the same image; keep one of them")


def digest_file(path: Path) -> str:
    """SHA-256 of a file; InputError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected an image; correct the data") from error

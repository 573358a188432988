"""Folders of images and masks as examples: the layout that BiomedParse published, or plain `images` and `masks`."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wsiparse.errors import InputError
from wsiparse.evaluation.names import IGNORED, TargetNames
from wsiparse.slides.formats import find_files
from wsiparse.training.examples import Example
from wsiparse.training.screening import Screening

SUFFIXES = (".png", ".tif", ".tiff", ".webp", ".bmp", ".jpg", ".jpeg")
_LAYOUTS = "expected train and train_mask, or images and masks; or a CSV table"


@dataclass(frozen=True)
class Splitting:
    """Which case an image belongs to, and which part a case."""

    case_pattern: str = ""
    """Regular expression that finds the case in a file's name, as its first group; empty takes the image's name."""
    test_share: float = 0.2
    """Share of the cases that are kept apart, where the data do not say it."""

    def find_case(self, name: str, default: str = "") -> str:
        """The case of a file or slide that nobody names; InputError where the pattern does not find one."""
        if not self.case_pattern:
            return default or name
        found = re.search(self.case_pattern, name)
        if not found or not found.groups() or not found[1]:
            raise InputError(
                f"{name}: case_pattern {self.case_pattern!r} finds no case in it; correct the pattern, or name "
                "the case in a table"
            )
        return found[1]

    def choose_part(self, case: str) -> str:
        """The part of a case; it follows from the name, so that more data moves no case."""
        place = int(hashlib.sha256(case.encode()).hexdigest()[:8], 16) / 2**32
        return "test" if place < self.test_share else "train"


@dataclass(frozen=True)
class Shelf:
    """A folder of images and that of their masks."""

    images: Path
    masks: Path
    part: str
    """`train` or `test`; empty where the cases decide."""
    published: bool
    """Masks are named `<image>_<target>`, with + for blanks; else `<image>`, or `<image>__<target>`."""


def find_shelves(folder: Path) -> list[Shelf]:
    """The folders of images below a folder; InputError where it has none of the known layouts."""
    shelves = [
        *(Shelf(folder / part, folder / f"{part}_mask", part, True) for part in ("train", "test")),
        *(Shelf(folder / part / "images", folder / part / "masks", part, False) for part in ("train", "test")),
        Shelf(folder / "images", folder / "masks", "", False),
    ]
    found = [shelf for shelf in shelves if shelf.images.is_dir() and shelf.masks.is_dir()]
    if not found:
        raise InputError(f"examples {folder}: no folders of images with masks; {_LAYOUTS}")
    return found


def list_examples(folder: Path, names: TargetNames, splitting: Splitting, screening: Screening) -> list[Example]:
    """Every mask of the wanted targets in a folder, those of one image one after the other.

    Raises InputError for a folder that cannot be read or a mask without its image, and ReferenceFileError for a target
    that nobody knows.
    """
    try:
        return [e for shelf in find_shelves(folder) for e in _list_shelf(shelf, names, splitting, screening)]
    except OSError as error:
        raise InputError(
            f"examples {error.filename}: {error.strerror}; expected a folder that may be read; change its rights"
        ) from error


def _list_shelf(shelf: Shelf, names: TargetNames, splitting: Splitting, screening: Screening) -> Iterator[Example]:
    _mention_folders(shelf, screening)
    images = _name_images(find_files(shelf.images, SUFFIXES))
    masked = set()
    for mask in find_files(shelf.masks, SUFFIXES):
        stem, word = split_mask_name(_find_stem(mask), shelf.published, images)
        if stem not in images:
            raise InputError(
                f"{mask}: no image {stem} in {shelf.images}; expected one of that name, ending in "
                f"{', '.join(SUFFIXES)}; add or rename it"
            )
        masked.add(stem)
        target = _find_target(word, mask, names)
        if target not in (*names.evaluated, IGNORED):
            screening.skip("mask of another target", mask.name)
            continue
        case = splitting.find_case(stem, stem.rsplit("_", 2)[0] if shelf.published else stem)
        yield Example(images[stem], mask, (target,), case, shelf.part or splitting.choose_part(case))
    for stem in sorted(images.keys() - masked):
        screening.skip("image without a mask", images[stem].name)


def _find_target(word: str, mask: Path, names: TargetNames) -> str:
    if not word and len(names.evaluated) > 1:
        raise InputError(
            f"{mask}: its name says none of {len(names.evaluated)} targets; expected a mask for each of them, named "
            "IMAGE__TARGET; rename it, divide one that numbers classes, or list all in a CSV table"
        )
    return names.resolve_file(word, mask)


def _mention_folders(shelf: Shelf, screening: Screening) -> None:
    """Say which folders lie among the images and masks, for nothing in them is learned from."""
    for folder in (shelf.images, shelf.masks):
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.name.startswith("."):
                screening.skip("folder within a folder", f"{folder.name}/{path.name}")


def _name_images(paths: Iterable[Path]) -> dict[str, Path]:
    images: dict[str, Path] = {}
    for path in paths:
        if (first := images.setdefault(_find_stem(path), path)) != path:
            raise InputError(
                f"{first} and {path.name}: two images of one name; expected one; rename or remove the other"
            )
    return images


def _find_stem(path: Path) -> str:
    """A file's name without its ending; systems differ in whether é is one letter or two."""
    return unicodedata.normalize("NFC", path.stem)


def split_mask_name(stem: str, published: bool, images: Container[str] = ()) -> tuple[str, str]:
    """The image's name and the target's words in that of a mask; no words where it names no target.

    Where `__` stands in names of images too, the longest of those that there are is taken.
    """
    if published:
        image, _, word = stem.rpartition("_")
        return image, word.replace("+", " ")
    image = stem
    while image not in images and "__" in image:
        image = image.rpartition("__")[0]
    return image, stem[len(image) :].removeprefix("__")


def read_wordings(folder: Path, names: TargetNames) -> dict[str, tuple[str, ...]]:
    """The sentences of `train.json` in the published layout, by target; empty where there is no such file.

    Raises InputError where the file is not as published.
    """
    path = folder / "train.json"
    if not path.exists():
        return {}
    wordings: dict[str, dict[str, None]] = {}
    try:
        for entry in json.loads(path.read_text(encoding="utf-8"))["annotations"]:
            target = names.resolve_file(split_mask_name(_find_stem(Path(entry["mask_file"])), True)[1], path)
            wordings.setdefault(target, {}).update(dict.fromkeys(_list_sentences(entry)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: {error!r}; expected annotations with mask_file and sentences") from error
    return {target: tuple(sentences) for target, sentences in wordings.items() if target in names.evaluated}


def _list_sentences(entry: Mapping[str, list[Mapping[str, str]]]) -> list[str]:
    sentences = [sentence["sent"].strip() for sentence in entry["sentences"]]
    if not all(sentences):
        raise ValueError(f"an empty sentence of {entry['mask_file']}")
    return sentences

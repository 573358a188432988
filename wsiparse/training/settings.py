"""What a training config says."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from wsiparse.errors import InputError
from wsiparse.files import read_text
from wsiparse.kinds import is_text
from wsiparse.models.load import list_models
from wsiparse.models.open_network import Sizes
from wsiparse.ontology import list_ontologies
from wsiparse.slides.remote import is_remote
from wsiparse.training.kinds import (
    AnyPlace,
    AnySizes,
    Bounds,
    Count,
    Factor,
    Factors,
    FileName,
    Names,
    Number,
    Pattern,
    Place,
    Scales,
    Share,
    Templates,
    Text,
    Texts,
    Whole,
    Words,
)

NEEDED = ("name", "ontology", "targets", "out")
PATHS = ("data", "examples", "slides", "mapping", "ontology", "out")
WEIGHTS = ("start", "kept")


@dataclass(frozen=True)
class TrainingSettings:
    """A training run; paths are relative to the config's folder and may name environment variables."""

    name: FileName
    """The model's name, written into its weights."""
    ontology: Place
    """TOML of the targets to learn, or the name of an ontology that ships."""
    targets: Names
    """Which of them, by name."""
    out: Place
    """Folder of the checkpoint, the log and the weights; a run found there is continued."""
    examples: AnyPlace = None
    """Images with masks: a table with the columns image, mask, present, case, part; or a folder (see folders.py)."""
    data: AnyPlace = None
    """Folder that the table's images and masks lie in; unset takes the table's own."""
    slides: AnyPlace = None
    """Manifest of slides with a `reference` column; `case` and `part` as wanted."""
    mapping: AnyPlace = None
    """TOML or JSON file: a laboratory's class names to targets."""
    mpp: Scales = field(default_factory=dict)
    """µm per pixel of the images that show a target, where the table does not say it.

    Images of a known scale are brought to the working mpp of what they show; others stay as they are."""
    case_pattern: Pattern = ""
    """Regular expression whose first group finds the case in the name of an image or slide; empty takes the name."""
    test_share: Share = 0.2
    """Share of the cases that are kept apart, where the data do not say which."""
    start: Text = ""
    """Weights to start from: a shipped name, or a file of ours or of BiomedParse; empty starts at random."""
    start_share: Share = 0.0
    """Share of the weights started from in those that are written: what was known before is forgotten less."""
    kept: Text = ""
    """Weights that this share is of, by name or file as in `start`; empty takes those started from."""
    learn: Texts = ()
    """Parts of the network that learn, such as `mask_decoder`; empty teaches all."""
    sizes: AnySizes = None
    """Of the open network; unset takes those of the weights started from, or the default ones."""
    tile: Count = 512
    seed: Whole = 1
    steps: Count = 3000
    batch: Count = 16
    crop: Count = 192
    """Side of a training crop; a multiple of the network's stride."""
    scales: Bounds = (0.7, 1.4)
    """Bounds of the random magnification."""
    plain_share: Share = 0.0
    """Share of crops that are turned and mirrored alone, and else come as they were scanned."""
    stain_strength: Number = 1.0
    swap_share: Share = 0.0
    """Share of crops that take on the stain of another of their batch."""
    fade_share: Share = 0.0
    """Share of crops whose nuclei turn pale inside, or lie in darker tissue; of targets with `instances` alone."""
    clear_share: Share = 0.0
    """Share of crops whose nuclei are clear inside but for rim and grains, as vesicular ones; of the same targets."""
    fibre_share: Share = 0.0
    """Share of crops with drawn muscle or stroma, as at 1.5 µm a pixel, without targets; of those silent on nuclei."""
    apart: Words = field(default_factory=dict)
    """Targets whose objects less where they touch are learned beside them, with the words that ask for these."""
    mirror_share: Share = 0.0
    """Share of the steps in which crops go on beyond their edges as mirror images, not as empty glass."""
    glass_share: Share = 0.1
    """Share of crops that show empty glass."""
    strand_share: Share = 0.0
    """Share of these with thin strands of tissue on the glass."""
    learning_rate: Factor = 2e-3
    warmup_steps: Whole = 200
    weight_decay: Number = 0.02
    average_decay: Share = 0.998
    """Share of the old in each step's moving average of the weights."""
    log_every: Count = 20
    check_every: Count = 250
    """Steps between a held-out check and checkpoint."""
    check_pictures: Whole = 48
    overlays: Whole = 4
    """Of these, how many are drawn into samples/ at each check."""
    device: Text = "auto"
    boost: Factors = field(default_factory=dict)
    """How many times more often than by count pictures with a target are drawn."""
    bare_boost: Factor = 1.0
    """The same for pictures that show no target."""
    templates: Templates = ("{}",)
    """Sentences around a target's name or synonym."""
    absent_prompts: Texts = ()
    """Things that no example shows; asked for, they are to be found nowhere."""
    notes: Words = field(default_factory=dict)
    """Written into the weights: the data and their licence, and what a person should know."""


def read_settings(path: str | Path) -> TrainingSettings:
    """Settings of a TOML file, which may name another to take the other keys from: `extends`.

    InputError names the key that is unknown, missing or of a wrong kind.
    """
    document = _read_document(Path(path), ())
    known = {entry.name for entry in fields(TrainingSettings)}
    if unknown := sorted(set(document) - known):
        raise InputError(f"training config {path}: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
    _check_kinds(document, path)
    if missing := [key for key in NEEDED if key not in document]:
        raise InputError(
            f"training config {path}: no {', '.join(missing)}; expected values for {', '.join(NEEDED)}; complete it as "
            "in docs/train.md"
        )
    settings = TrainingSettings(**_convert_values(document))
    _check_values(settings, path)
    return settings


def check_sides(settings: TrainingSettings, stride: int, source: str) -> None:
    """Raise InputError, with what says so as `source`, where a network of this stride cannot take crops or tiles."""
    if settings.crop % stride or settings.tile % stride:
        raise InputError(f"{source}: crop {settings.crop}, tile {settings.tile}; use multiples of {stride}")
    if settings.crop < 2 * stride:  # the coarsest features of a crop would be one pixel, which cannot be normalised
        raise InputError(f"{source}: crop {settings.crop}; expected {2 * stride} pixels or more; enlarge it")


def _check_kinds(document: dict[str, Any], path: str | Path) -> None:
    """Raise InputError for a value that is none of those that its key takes."""
    hints = get_type_hints(TrainingSettings, include_extras=True)
    for key, value in document.items():
        (kind,) = hints[key].__metadata__
        if not kind.fits(value):
            raise InputError(f"training config {path}: {key} is {value!r}; expected {kind.words}; correct it")


def _check_values(settings: TrainingSettings, path: str | Path) -> None:
    if not (settings.examples or settings.slides):
        raise InputError(f"training config {path}: neither examples nor slides; name what to learn from")
    if settings.sizes or not settings.start:
        check_sides(settings, (settings.sizes or Sizes()).stride, f"training config {path}")
    if settings.start_share == 1 or (settings.start_share and not (settings.kept or settings.start)):
        raise InputError(
            f"training config {path}: start_share {settings.start_share}, start {settings.start!r}; expected a share "
            "from 0 to below 1, and weights to start from"
        )


def _read_document(path: Path, extending: tuple[Path, ...], taken: Collection[str] = ()) -> dict[str, Any]:
    """The keys of a file but those that are `taken`, and under them those of the file that it extends."""
    if path.resolve() in extending:
        raise InputError(f"training config {path} extends itself; name another file in extends, or none")
    try:
        document = tomllib.loads(read_text(path))
    except (OSError, ValueError) as error:
        raise InputError(f"training config {path}: {error}; expected a TOML file such as open-1.toml") from error
    base, own = document.pop("extends", ""), {key: value for key, value in document.items() if key not in taken}
    placed = _place_paths(own, path.parent)
    if not isinstance(base, str):
        raise InputError(f"training config {path}: extends is {base!r}; expected the name of a file beside it")
    if not base:
        return placed
    return {**_read_document(path.parent / base, (*extending, path.resolve()), {*taken, *own}), **placed}


def _convert_values(document: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in document.items()}
    values |= {key: Path(values[key]) for key in PATHS if key in values}
    if "sizes" in values:
        values["sizes"] = Sizes(**values["sizes"])
    return values


def _place_paths(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The keys of a file with its paths seen from where it lies, and names of what ships as they are."""
    shipped = {"ontology": list_ontologies(), **dict.fromkeys(WEIGHTS, list_models())}
    texts = {key: document[key] for key in (*PATHS, *WEIGHTS) if is_text(document.get(key))}
    return document | {
        key: str(folder / _expand_path(text)) for key, text in texts.items() if text not in shipped.get(key, ())
    }


def _expand_path(text: str) -> Path:
    expanded = os.path.expandvars(text)
    if is_remote(expanded):
        raise InputError(
            f"path {text!r}: an address, expected a path on this machine; copy what lies there, or mount it"
        )
    if "$" in expanded:
        raise InputError(f"path {text!r}: expected its environment variable to be set; export it or write the path")
    return Path(expanded).expanduser()

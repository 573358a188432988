"""What a training config says."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from wsiparse.errors import InputError
from wsiparse.models.open_network import Sizes
from wsiparse.ontology import list_ontologies

PATHS = ("data", "examples", "slides", "mapping", "ontology", "out")


@dataclass(frozen=True)
class TrainingSettings:
    """A training run; paths are relative to the config's folder and may name environment variables."""

    name: str
    """The model's name, written into its weights."""
    ontology: Path
    """TOML of the targets to learn, or the name of an ontology that ships."""
    targets: tuple[str, ...]
    """Which of them, by name."""
    out: Path
    """Folder of the checkpoint, the log and the weights; a run found there is continued."""
    examples: Path | None = None
    """Images with masks: a table with the columns image, mask, present, case, part; or a folder (see folders.py)."""
    data: Path | None = None
    """Folder that the table's images and masks lie in; unset takes the table's own."""
    slides: Path | None = None
    """Manifest of slides with a `reference` column; `case` and `part` as wanted."""
    mapping: Path | None = None
    """TOML or JSON file: a laboratory's class names to targets."""
    mpp: dict[str, float] = field(default_factory=dict)
    """µm per pixel of the images that show a target, where the table does not say it.

    Images of a known scale are brought to the working mpp of what they show; others stay as they are."""
    case_pattern: str = ""
    """Regular expression whose first group is the case in an image's name; empty takes the name."""
    test_share: float = 0.2
    """Share of the cases that are kept apart, where the data do not say which."""
    start: str = ""
    """Weights to start from: a shipped name, or a file of ours or of BiomedParse; empty starts at random."""
    start_share: float = 0.0
    """Share of the weights started from in those that are written: what was known before is forgotten less."""
    learn: tuple[str, ...] = ()
    """Parts of the network that learn, such as `mask_decoder`; empty teaches all."""
    sizes: Sizes | None = None
    """Of the open network; unset takes those of the weights started from, or the default ones."""
    tile: int = 512
    seed: int = 1
    steps: int = 3000
    batch: int = 16
    crop: int = 192
    """Side of a training crop; a multiple of the network's stride."""
    scales: tuple[float, float] = (0.7, 1.4)
    """Bounds of the random magnification."""
    plain_share: float = 0.0
    """Share of crops that are turned and mirrored alone, and else come as they were scanned."""
    stain_strength: float = 1.0
    swap_share: float = 0.0
    """Share of crops that take on the stain of another of their batch."""
    fade_share: float = 0.0
    """Share of crops whose nuclei turn pale inside, or lie in darker tissue; of targets with `instances` alone."""
    clear_share: float = 0.0
    """Share of crops whose nuclei are clear inside but for rim and grains, as vesicular ones; of the same targets."""
    apart: dict[str, str] = field(default_factory=dict)
    """Targets whose objects less where they touch are learned beside them, with the words that ask for these."""
    mirror_share: float = 0.0
    """Share of the steps in which crops go on beyond their edges as mirror images, not as empty glass."""
    glass_share: float = 0.1
    """Share of crops that show empty glass."""
    strand_share: float = 0.0
    """Share of these with thin strands of tissue on the glass."""
    learning_rate: float = 2e-3
    warmup_steps: int = 200
    weight_decay: float = 0.02
    average_decay: float = 0.998
    """Share of the old in each step's moving average of the weights."""
    log_every: int = 20
    check_every: int = 250
    """Steps between a held-out check and checkpoint."""
    check_pictures: int = 48
    overlays: int = 4
    """Of these, how many are drawn into samples/ at each check."""
    device: str = "auto"
    boost: dict[str, float] = field(default_factory=dict)
    """How many times more often than by count pictures with a target are drawn."""
    bare_boost: float = 1.0
    """The same for pictures that show no target."""
    templates: tuple[str, ...] = ("{}",)
    """Sentences around a target's name or synonym."""
    absent_prompts: tuple[str, ...] = ()
    """Things that no example shows; asked for, they are to be found nowhere."""
    notes: dict[str, str] = field(default_factory=dict)
    """Written into the weights: the data and their licence, and what a person should know."""


def read_settings(path: str | Path) -> TrainingSettings:
    """Settings of a TOML file, which may name another in its folder to take the other keys from: `extends`.

    InputError names the key that is unknown, missing or of a wrong kind.
    """
    document = _read_document(Path(path), ())
    known = {entry.name for entry in fields(TrainingSettings)}
    if unknown := sorted(set(document) - known):
        raise InputError(f"training config {path}: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
    try:
        settings = TrainingSettings(**_convert_values(document, Path(path).parent))
    except TypeError as error:
        raise InputError(f"training config {path}: {error}; complete it after open-1.toml") from error
    _check_values(settings, path)
    return settings


def check_sides(settings: TrainingSettings, stride: int, source: str) -> None:
    """Raise InputError, with what says so as `source`, where a network of this stride cannot take crops or tiles."""
    if settings.crop % stride or settings.tile % stride:
        raise InputError(f"{source}: crop {settings.crop}, tile {settings.tile}; use multiples of {stride}")


def _check_values(settings: TrainingSettings, path: str | Path) -> None:
    if not (settings.examples or settings.slides):
        raise InputError(f"training config {path}: neither examples nor slides; name what to learn from")
    if settings.sizes or not settings.start:
        check_sides(settings, (settings.sizes or Sizes()).stride, f"training config {path}")
    if wrong := [f"{name} = {mpp}" for name, mpp in settings.mpp.items() if not mpp > 0]:
        raise InputError(f"training config {path}: mpp of {wrong[0]}; expected µm per pixel above 0")
    if not 0 <= settings.start_share < 1 or (settings.start_share and not settings.start):
        raise InputError(
            f"training config {path}: start_share {settings.start_share}, start {settings.start!r}; expected a share "
            "from 0 to below 1, and weights to start from"
        )


def _read_document(path: Path, extending: tuple[Path, ...]) -> dict[str, Any]:
    """The keys of a file, and under them those of the file beside it that it extends."""
    if path in extending:
        raise InputError(f"training config {path} extends itself; name another file in extends, or none")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"training config {path}: {error}; expected a TOML file such as open-1.toml") from error
    base = document.pop("extends", "")
    return {**_read_document(path.parent / base, (*extending, path)), **document} if base else document


def _convert_values(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in document.items()}
    for key in PATHS:
        if key in values:
            values[key] = _place_path(key, values[key], folder)
    if "sizes" in values:
        values["sizes"] = Sizes(**values["sizes"])
    return values


def _place_path(key: str, text: str, folder: Path) -> Path:
    shipped = key == "ontology" and text in list_ontologies()
    return Path(text) if shipped else folder / _expand_path(text)


def _expand_path(text: str) -> Path:
    expanded = os.path.expandvars(text)
    if "$" in expanded:
        raise InputError(f"path {text!r}: expected its environment variable to be set; export it or write the path")
    return Path(expanded).expanduser()

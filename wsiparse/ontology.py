"""Targets and the ontology: what can be found in a slide, and the words that ask for it."""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from wsiparse.errors import InputError, TargetError


@dataclass(frozen=True)
class Target:
    """One thing to look for; a leaf of the ontology."""

    name: str
    """What people call it; unique, and the class name in QuPath."""
    prompt: str
    """The words told to the model."""
    group: str
    """Targets of one group exclude each other on a pixel and share a label map."""
    color: tuple[int, int, int]
    """Red, green, blue in 0..255."""
    mpp: float
    """Working scale: µm per pixel at which the model is asked."""
    threshold: float = 0.5
    """Probability from which a pixel counts as the target."""
    min_area_um2: float = 0.0
    """Smaller outlines are dropped; 0 keeps all."""
    instances: bool = False
    """True where each connected object is one thing (a nucleus), False where it is a region (a tumour)."""
    category: str = "histology"
    """First layer of the ontology: organ, abnormality or histology."""
    meta: str = "histology structure"
    """Second layer: the meta-object type."""
    synonyms: tuple[str, ...] = ()
    """Other wordings that mean the same."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "color", tuple(self.color))
        object.__setattr__(self, "synonyms", tuple(self.synonyms))
        _check(self)


def _check(target: Target) -> None:
    name = target.name
    if not name or ":" in name or "\n" in name or name.endswith("*"):
        raise InputError(f"target name {name!r}: expected text without ':' or line break, not ending in '*'; rename it")
    color: tuple[Any, ...] = target.color  # what a file says is checked, whatever the annotation promises
    if len(color) != 3 or not all(isinstance(c, int) and 0 <= c <= 255 for c in color):
        raise InputError(f"target {name!r}: colour {target.color}, expected three integers in 0..255")
    if not 0 < target.mpp < 100:
        raise InputError(f"target {name!r}: mpp {target.mpp}, expected µm per pixel above 0 and below 100")
    if not 0 < target.threshold < 1:
        raise InputError(f"target {name!r}: threshold {target.threshold}, expected a probability between 0 and 1")


@dataclass(frozen=True)
class Ontology:
    """All targets that can be asked for, in the order of their file."""

    targets: tuple[Target, ...]

    def __post_init__(self) -> None:
        names = [target.name.casefold() for target in self.targets]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"ontology: target {name!r} is defined twice; rename one of them")

    @property
    def digest(self) -> str:
        """SHA-256 of everything the targets say; it guards the resume of a run."""
        text = json.dumps([asdict(target) for target in self.targets], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def find(self, text: str) -> Target:
        """The target whose name, prompt or synonym is `text` in any case; else an error with the nearest names."""
        wanted = " ".join(text.casefold().split())
        for target in self.targets:
            if wanted in {word.casefold() for word in (target.name, target.prompt, *target.synonyms)}:
                return target
        raise TargetError(f"unknown target {text!r}; nearest: {', '.join(self._nearest(wanted))}")

    def _nearest(self, text: str) -> list[str]:
        words = {word.casefold(): t.name for t in self.targets for word in (t.name, t.prompt, *t.synonyms)}
        close = difflib.get_close_matches(text, words, n=3, cutoff=0.0)
        return list(dict.fromkeys(words[word] for word in close))


def list_groups(targets: Iterable[Target]) -> tuple[str, ...]:
    """Names of the exclusive groups, in the order in which their first target stands."""
    return tuple(dict.fromkeys(target.group for target in targets))


def load_ontology(path: str | Path) -> Ontology:
    """Read an ontology from a TOML file of [[target]] tables; keys are the fields of `Target`."""
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"ontology {path}: {error.strerror}; expected a TOML file of [[target]] tables") from error
    except ValueError as error:
        raise InputError(f"ontology {path}: {error}; expected a TOML file of [[target]] tables") from error
    return Ontology(tuple(parse_target(entry, str(path)) for entry in document.get("target", [])))


def parse_target(entry: dict[str, Any], source: str) -> Target:
    """A target from a table of its fields; `source` names the file in errors."""
    known = {field.name for field in fields(Target)}
    name = entry.get("name")
    if unknown := sorted(set(entry) - known):
        raise InputError(f"{source}: target {name!r} has unknown key {unknown[0]!r}; known: {sorted(known)}")
    try:
        return Target(**entry)
    except TypeError as error:
        raise InputError(f"{source}: target {name!r}: {error}") from error

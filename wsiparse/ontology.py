"""Targets and the ontology: what can be found in a slide, and the words that ask for it."""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from wsiparse.errors import InputError, TargetError
from wsiparse.files import find_config, read_text
from wsiparse.kinds import Kind, is_number, is_text, list_of

OBJECT, SITE = "[object]", "[site]"
"""What stands in a prompt for the target's name and for the tissue."""
MOST_HOLE_PIXELS = 250_000
"""A block is read with as much around it as a hole that is to be filled may reach out of it."""
LAYERS = ("organ", "abnormality", "histology")
"""First layer of the ontology."""
QUPATH_COLORS = {
    "Tumor": (200, 0, 0),
    "Stroma": (150, 200, 150),
    "Immune cells": (160, 90, 160),
    "Necrosis": (50, 50, 50),
    "Other": (255, 200, 0),
}
"""Colours of the classes that QuPath begins with, by which an ontology may name them."""


@dataclass(frozen=True)
class Target:
    """One thing to look for; a leaf of the ontology."""

    name: str
    """What people call it; unique, and the class name in QuPath."""
    prompt: str
    """The words told to the model; `[site]` in them is the tissue that a run names."""
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
    min_hole_um2: float = 0.0
    """Smaller holes are filled, in the label map as in the outlines; 0 keeps all."""
    instances: bool = False
    """True where each connected object is one thing (a nucleus), False where it is a region (a tumour)."""
    category: str = "histology"
    """First layer of the ontology: organ, abnormality or histology."""
    meta: str = "histology structure"
    """Second layer: the meta-object type."""
    synonyms: tuple[str, ...] = ()
    """Other wordings that mean the same."""
    field_um: float = 0.0
    """Field of view: width of tissue that a tile shows, in µm; 0 takes the model's own tile."""
    sites: tuple[str, ...] = ()
    """Tissues in which it is looked for, as a prompt names them; empty for any."""

    def __post_init__(self) -> None:
        _check_kinds(self)
        for name in ("color", "synonyms", "sites"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _check_ranges(self)

    def at_site(self, site: str | None) -> Target:
        """The target with its prompt told for a tissue; for none, by its name alone, as BiomedParse enumerates them."""
        if SITE not in self.prompt:
            return self
        return replace(self, prompt=self.prompt.replace(SITE, site) if site else self.name)

    def occurs_at(self, site: str) -> bool:
        """Whether it is looked for in a tissue."""
        return not self.sites or site in self.sites

    def wordings(self, site: str | None = None) -> tuple[str, ...]:
        """Name, synonyms and prompt; with a site, the prompts that name it, one for each of them."""
        words = (self.name, *self.synonyms)
        if site is None:
            return (*words, self.at_site(None).prompt)
        prompt = self.at_site(site).prompt
        return tuple(prompt.replace(self.name, word) for word in words)


def _is_color(value: Any) -> bool:
    return list_of(lambda part: type(part) is int and 0 <= part <= 255, 3)(value) and len(value) == 3


_KINDS = {
    "str": Kind("text", is_text),
    "float": Kind("a number, 0 or above", is_number),
    "bool": Kind("true or false", lambda value: isinstance(value, bool)),
    "tuple[int, int, int]": Kind("three integers in 0..255", _is_color),
    "tuple[str, ...]": Kind("a list of texts", list_of(is_text)),
}
"""By the annotation of a field of `Target`."""


def _check_kinds(target: Target) -> None:
    """What a file says is checked, whatever the annotations promise."""
    for field in fields(Target):
        value, kind = getattr(target, field.name), _KINDS[str(field.type)]
        if not kind.fits(value):
            raise InputError(f"target {target.name!r}: {field.name} is {value!r}, expected {kind.words}")


def _check_ranges(target: Target) -> None:
    name = target.name
    if ":" in name or "\n" in name or name.endswith("*"):
        raise InputError(f"target name {name!r}: expected text without ':' or line break, not ending in '*'; rename it")
    if not 0 < target.mpp < 100:
        raise InputError(f"target {name!r}: mpp {target.mpp}, expected µm per pixel above 0 and below 100")
    if not 0 < target.threshold < 1:
        raise InputError(f"target {name!r}: threshold {target.threshold}, expected a probability between 0 and 1")
    if not 0 <= target.field_um < 100_000:
        raise InputError(f"target {name!r}: field_um {target.field_um}, expected µm below 100,000, or 0")
    if not 0 <= (pixels := target.min_hole_um2 / target.mpp**2) <= MOST_HOLE_PIXELS:
        raise InputError(
            f"target {name!r}: min_hole_um2 {target.min_hole_um2} is {pixels:,.0f} pixels at {target.mpp} µm/px, "
            f"expected 0 to {MOST_HOLE_PIXELS:,}"
        )
    if target.category not in LAYERS:
        raise InputError(f"target {name!r}: category {target.category!r}, expected one of {', '.join(LAYERS)}")


@dataclass(frozen=True)
class Ontology:
    """All targets that can be asked for, in the order of their file."""

    targets: tuple[Target, ...]

    def __post_init__(self) -> None:
        _refuse_twins("ontology", [_fold(target.name) for target in self.targets])
        owners: dict[str, str] = {}
        for target in self.targets:
            for wording in _list_wordings(target):
                if (owner := owners.setdefault(wording, target.name)) != target.name:
                    raise InputError(
                        f"ontology: {wording!r} asks for {owner!r} and for {target.name!r}; expected names, synonyms "
                        "and prompts of one target each; reword one of them"
                    )

    @property
    def digest(self) -> str:
        """SHA-256 of everything the targets say; it guards the resume of a run."""
        text = json.dumps([asdict(target) for target in self.targets], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def find(self, text: str) -> Target:
        """The target whose name, prompt or synonym is `text` in any case; else an error with the nearest names.

        Where the text names a site, as in "neoplastic cells in breast pathology", the target's prompt is told for it.
        """
        found = self.look_up(text)
        if found is None:
            raise TargetError(f"unknown target {text!r}; nearest: {', '.join(self._nearest(text.casefold()))}")
        return found

    def look_up(self, text: str) -> Target | None:
        """What `find` gives, or None."""
        wanted = _fold(text)
        for target in self.targets:
            for site in (None, *target.sites):
                if wanted in map(_fold, target.wordings(site)):
                    return target.at_site(site) if site else target
        return None

    def _nearest(self, text: str) -> list[str]:
        words = {word.casefold(): target.name for target in self.targets for word in target.wordings()}
        close = difflib.get_close_matches(text, words, n=3, cutoff=0.0)
        return list(dict.fromkeys(words[word] for word in close))


def _fold(text: str) -> str:
    """A wording as it is compared: in any case, with any blanks between its words."""
    return " ".join(text.casefold().split())


def _list_wordings(target: Target) -> Iterable[str]:
    return (_fold(wording) for site in (None, *target.sites) for wording in target.wordings(site))


def take_site(targets: Sequence[Target], site: str | None) -> tuple[Target, ...]:
    """The targets that are looked for in a tissue, their prompts told for it; all of them where none is named.

    Targets that know no sites take any. Raises TargetError for a site that none of those that do know one knows.
    """
    known = list(dict.fromkeys(name for target in targets for name in target.sites))
    if site and known and site not in known:
        near = ", ".join(difflib.get_close_matches(site, known, n=3, cutoff=0.0))
        raise TargetError(f"site {site!r}: no target is looked for there; nearest: {near}; see `wsiparse targets`")
    return tuple(target.at_site(site) for target in targets if not site or target.occurs_at(site))


def list_groups(targets: Iterable[Target]) -> tuple[str, ...]:
    """Names of the exclusive groups, in the order in which their first target stands."""
    return tuple(dict.fromkeys(target.group for target in targets))


def load_ontology(source: str | Path) -> Ontology:
    """An ontology that ships, by its name, or a TOML file of [[target]] tables whose keys are the fields of `Target`.

    `extends` names an ontology whose targets come first; a table of a name that is there already changes what it says
    of it. `template` is the prompt of targets that bring none, with `[object]` for their name.
    """
    path = _find_ontology(str(source), Path())
    targets = tuple(parse_target(entry, str(path)) for entry in _read_entries(path, ()).values())
    if not targets:
        raise InputError(f"ontology {path}: no target in it; expected a [[target]] table or more, or `extends`")
    try:
        _refuse_like_groups(list_groups(targets))
        return Ontology(targets)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def list_ontologies() -> dict[str, Path]:
    """Names and files of the ontologies that ship."""
    return {path.stem: path for path in sorted(find_config("ontology").glob("*.toml"))}


def _find_ontology(source: str, folder: Path) -> Path:
    return list_ontologies().get(source, folder / source)


def _read_entries(path: Path, readers: tuple[Path, ...]) -> dict[str, dict[str, Any]]:
    """The tables of a file and of what it extends, by their names in small letters."""
    if path.resolve() in readers:
        raise InputError(f"ontology {path}: extends itself; expected another ontology; remove one `extends`")
    document = _read_document(path)
    base = document.get("extends")
    entries = _read_entries(_find_ontology(base, path.parent), (*readers, path.resolve())) if base else {}
    own = [(_fold(str(entry.get("name", ""))), entry) for entry in document.get("target", [])]
    for name, entry in own:
        entries[name] = _fill_prompt({**entries.get(name, {}), **entry}, document.get("template"))
    _refuse_twins(f"ontology {path}", [name for name, _ in own])
    return entries


def _refuse_twins(source: str, names: Sequence[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise InputError(f"{source}: target {name!r} is defined twice; rename one of them")


def _refuse_like_groups(groups: Sequence[str]) -> None:
    """One group in two spellings excludes nothing, and where disks know no capitals both would share a label map."""
    spelt: dict[str, str] = {}
    for group in groups:
        if (other := spelt.setdefault(_fold(group), group)) != group:
            raise InputError(
                f"ontology: groups {other!r} and {group!r} differ in capitals or blanks alone; expected one name for "
                "targets that exclude each other, and others that differ in more; reword one of them"
            )


def _fill_prompt(entry: dict[str, Any], template: str | None) -> dict[str, Any]:
    prompt = entry.get("prompt", template)
    return {**entry, "prompt": prompt.replace(OBJECT, str(entry.get("name")))} if isinstance(prompt, str) else entry


def _read_document(path: Path) -> dict[str, Any]:
    expected = f"expected one of {', '.join(list_ontologies())}, or a TOML file of [[target]] tables"
    try:
        document = tomllib.loads(read_text(path))
    except OSError as error:
        raise InputError(f"ontology {path}: {error.strerror}; {expected}") from error
    except ValueError as error:
        raise InputError(f"ontology {path}: {error}; {expected}") from error
    _check_document(path, document)
    return document


def _check_document(path: Path, document: dict[str, Any]) -> None:
    if unknown := sorted(set(document) - {"extends", "template", "target"}):
        raise InputError(f"ontology {path}: unknown key {unknown[0]!r}; expected extends, template and [[target]]")
    for key in ("extends", "template"):
        if key in document and not is_text(document[key]):
            raise InputError(f"ontology {path}: {key} is {document[key]!r}, expected text")
    tables = document.get("target", [])
    if not isinstance(tables, list) or not all(isinstance(entry, dict) for entry in tables):
        raise InputError(
            f"ontology {path}: target is no list of tables; write [[target]], in two brackets, before each"
        )


def parse_target(entry: dict[str, Any], source: str) -> Target:
    """A target from a table of its fields, its colour a triple or a name of QuPath's; `source` names the file."""
    known = {field.name: field.default is MISSING for field in fields(Target)}
    name, color = entry.get("name"), entry.get("color")
    if unknown := sorted(set(entry) - set(known)):
        raise InputError(f"{source}: target {name!r} has unknown key {unknown[0]!r}; known: {sorted(known)}")
    if isinstance(color, str):
        if color not in QUPATH_COLORS:
            raise InputError(f"{source}: target {name!r}: color {color!r}, expected {', '.join(QUPATH_COLORS)} or RGB")
        entry = {**entry, "color": QUPATH_COLORS[color]}
    if missing := [key for key, needed in known.items() if needed and key not in entry]:
        raise InputError(f"{source}: target {name!r} lacks {missing[0]!r}; expected a value for it; add one")
    try:
        return Target(**entry)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error

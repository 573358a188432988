"""What the names in a reference mean: a target, a frame, pixels to leave out, or none of the targets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from wsiparse.annotations.classes import is_ignored, is_roi
from wsiparse.annotations.mapping import WITHIN
from wsiparse.errors import ReferenceFileError, TargetError
from wsiparse.ontology import Ontology

FRAME = "Region*"
"""Only pixels inside such annotations are compared, where there is one."""
IGNORED = "Ignore*"
"""Pixels under such annotations are neither right nor wrong."""
OTHER = ""
"""None of the targets: such pixels count as background of each of them."""

_SHOWN = 12


@dataclass(frozen=True)
class TargetNames:
    """The reader of names: what a person mapped comes first, then QuPath's own classes, then the ontology."""

    ontology: Ontology
    evaluated: tuple[str, ...]
    """Names of the targets that are compared."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    """From a class to a target's name, prompt or synonym, to that name after WITHIN, to IGNORED, or to OTHER."""

    def resolve(self, name: str) -> str:
        """A target's name, alone or after WITHIN, FRAME, IGNORED or OTHER; TargetError for a name nobody knows."""
        if name in self.mapping:
            value = self.mapping[name]
            return value if value == OTHER or value.startswith(WITHIN) else _resolve_class(self.ontology, value)
        return _resolve_class(self.ontology, name)

    def resolve_all(self, names: Iterable[str], path: Path) -> dict[str, str]:
        """The meaning of every name in a file; ReferenceFileError listing all those that nobody knows."""
        meanings: dict[str, str] = {}
        unknown: list[str] = []
        for name in sorted(set(names)):
            try:
                meanings[name] = self.resolve(name)
            except TargetError:
                unknown.append(name)
        if unknown:
            raise ReferenceFileError(f"{path}: {_explain_unknown(unknown, self.ontology)}")
        return meanings

    def name_unclassified(self, target: str) -> TargetNames:
        """The same names, with what has no class read as `target`."""
        return replace(self, mapping={**self.mapping, "": target})

    def resolve_file(self, text: str, path: Path) -> str:
        """The target of a file without classes that is named `text`, or the only evaluated one where it is not."""
        if text:
            return self.resolve_all([text], path)[text]
        if len(self.evaluated) == 1:
            return self.evaluated[0]
        raise ReferenceFileError(
            f"{path}: a file without classes for {len(self.evaluated)} targets; expected a file name "
            "<slide>__<target>, in a manifest its column reference_target, for a mask a sidecar .json {value: target}, "
            "or a single target to evaluate"
        )


def _resolve_class(ontology: Ontology, name: str) -> str:
    if is_roi(name):
        return FRAME
    if is_ignored(name):
        return IGNORED
    try:
        return ontology.find(name).name
    except TargetError:
        found = _find_loosely(ontology, name)
        if len(found) != 1:
            raise
        return found.pop()


def _find_loosely(ontology: Ontology, name: str) -> set[str]:
    """Names of the targets that have this wording, whether blanks, hyphens or underscores part its words."""
    wordings = (
        (target.name, wording)
        for target in ontology.targets
        for site in (None, *target.sites)
        for wording in target.wordings(site)
    )
    return {target for target, wording in wordings if _split(wording) == _split(name)}


def _split(wording: str) -> list[str]:
    return re.sub(r"[_-]", " ", wording.casefold()).split()


def _explain_unknown(unknown: list[str], ontology: Ontology) -> str:
    known = [target.name for target in ontology.targets]
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return (
        f"classes {', '.join(map(repr, unknown))} are no targets; expected names, prompts or synonyms of "
        f"{', '.join(known[:_SHOWN])}{more}; map each to a target, to '{IGNORED}', or to '' for none of them"
    )

"""A laboratory's own class names, said in the words of the ontology; no class is dropped unsaid."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from wsiparse.annotations.classes import is_ignored, is_roi
from wsiparse.errors import InputError, TargetError
from wsiparse.files import read_text
from wsiparse.ontology import Ontology

WITHIN = "within:"
"""Begins the meaning of a class that is drawn coarsely around a target; no target's name holds a colon."""
_EXPECTED = 'expected a TOML table [classes] or a JSON object of "class" = "target"'


def load_mapping(path: str | Path, ontology: Ontology) -> dict[str, str]:
    """What each class of a laboratory means: the name of a target, `Ignore*`, `Region*`, or empty.

    The file is TOML with one table [classes], or JSON with one object; a target may be given by its name, prompt or
    synonym, and "within: target" stands for an area drawn around many of them. The class `""` stands for what has no
    class. Raises InputError for a file that cannot be read or names a target that nobody knows.
    """
    classes = _read_classes(Path(path))
    meanings: dict[str, str] = {}
    for name, text in classes.items():
        if not isinstance(text, str):
            raise InputError(f"mapping {path}: class {name!r} is {text!r}; {_EXPECTED}")
        meanings[name.strip()] = _resolve(text.strip(), name, ontology, path)
    if len(meanings) < len(classes):
        raise InputError(f"mapping {path}: two classes differ only in the blanks around them; {_EXPECTED}")
    return meanings


def _read_classes(path: Path) -> dict[str, Any]:
    try:
        text = read_text(path)
        is_json = path.suffix.lower() == ".json"
        document = json.loads(text, object_pairs_hook=_join_pairs) if is_json else tomllib.loads(text)
    except OSError as error:
        raise InputError(f"mapping {path}: {error.strerror}; {_EXPECTED}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"mapping {path}: {error}; {_EXPECTED}") from error
    classes = document.get("classes", document) if isinstance(document, dict) else None
    if not isinstance(classes, dict) or not classes:
        raise InputError(f"mapping {path}: no classes in it; {_EXPECTED}")
    return classes


def _join_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, of which Python would keep the last of two members of one name; TOML refuses such itself."""
    twins = [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
    if twins:
        raise ValueError(f"class {twins[0]!r} stands there several times")
    return dict(pairs)


def _resolve(text: str, name: str, ontology: Ontology, path: str | Path) -> str:
    if not text or is_roi(text) or is_ignored(text):
        return text
    before = WITHIN if text.startswith(WITHIN) else ""
    try:
        return before + ontology.find(text.removeprefix(before)).name
    except TargetError as error:
        raise InputError(
            f"mapping {path}: class {name!r}: {error}; correct it, or '' for none of the targets"
        ) from error

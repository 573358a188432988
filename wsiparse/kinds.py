"""What values a file of settings may hold, in words for people and as a test."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

Test: TypeAlias = Callable[[Any], bool]


@dataclass(frozen=True)
class Kind:
    """Values that a TOML file may give a key."""

    words: str
    fits: Test


def is_text(value: Any) -> bool:
    """Whether a value is text with anything in it."""
    return isinstance(value, str) and bool(value.strip())


def is_number(value: Any) -> bool:
    """Whether a value is a finite number from 0; True is none."""
    return type(value) in (int, float) and 0 <= value < math.inf


def list_of(fits: Test, least: int = 0) -> Test:
    """A test for lists of `least` values or more that fit."""
    return lambda value: isinstance(value, list | tuple) and len(value) >= least and all(map(fits, value))


def table_of(fits: Test) -> Test:
    """A test for tables whose values fit."""
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))

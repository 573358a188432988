"""What people are told of findings that the test of validity refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def list_refusals(summary: Mapping[str, Any]) -> Iterator[str]:
    """One line for each target of a finished slide that was found but refused."""
    for entry in summary["targets"]:
        if entry["refused"] and entry["refused_tiles"] is not None:
            share, kept = entry["refused_tiles"], "" if entry["selected"] else ", left out"
            yield f"{entry['target']}: {share:.0%} of its tiles are unlike those that do show it{kept}"

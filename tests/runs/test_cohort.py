"""A long cohort takes no more memory than a short one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.cohort import list_command, read_run, write_cohort
from tests.conftest import MakeSlide

SIDE, SLIDES, EVERY = 768, 60, 2
EARLY, LATE = slice(7, 15), slice(22, 30)
"""Readings after 16 to 30 slides and after 46 to 60; before, not all is imported."""
PAGES_MB = 60
"""What logs of bounded length and scattered pages may take; pixels and maps of 30 slides are 93 MB."""


@pytest.mark.slow
def test_no_process_keeps_what_a_slide_left(make_slide: MakeSlide, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    write_cohort(manifest, make_slide(SIDE, SIDE), SLIDES)
    readings = list(read_run(list_command(manifest, tmp_path / "out", 2), EVERY))
    assert readings[-1].slides == SLIDES
    # The least of several readings is what stays: a worker in the midst of a block holds up to 130 MB more.
    early, late = (find_least([one.megabytes for one in readings[part]]) for part in (EARLY, LATE))
    assert len(late) == 3
    for before, now in zip(early, late, strict=True):
        assert now - before < PAGES_MB


def find_least(readings: Sequence[Sequence[float]]) -> list[float]:
    """Of each process."""
    return [min(process) for process in zip(*readings, strict=True)]

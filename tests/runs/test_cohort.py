"""A long cohort takes no more memory than a short one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cohort import list_command, read_run, write_cohort
from tests.conftest import MakeSlide

SIDE, SLIDES, EVERY = 768, 40, 20
PAGES_MB = 20
"""What logs of bounded length may take before they are full; pixels and maps of 20 slides are 62 MB."""


@pytest.mark.slow
def test_no_process_keeps_what_a_slide_left(make_slide: MakeSlide, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    write_cohort(manifest, make_slide(SIDE, SIDE), SLIDES)
    middle, last = read_run(list_command(manifest, tmp_path / "out", 2), EVERY)
    assert last.slides == SLIDES
    assert len(last.megabytes) == 3
    for before, now in zip(middle.megabytes, last.megabytes, strict=True):
        assert now - before < PAGES_MB

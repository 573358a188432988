from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from tests.conftest import MakeSlide
from wsiparse.commands.ending import console

STREAMS = ["2>/dev/full", ">/dev/full", ">&-", "2>&-", ">/dev/full 2>/dev/full", "2>&1 | true"]
PATHS = ["/x/[old]/e.svs", "z[/e].svs", "/:heart:/a.svs"]


@pytest.mark.parametrize("path", PATHS)
def test_paths_are_printed_as_they_are(capfd: pytest.CaptureFixture[str], path: str) -> None:
    console.print(f"results: {path}")
    assert capfd.readouterr().out == f"results: {path}\n"
    table = Table(path)
    table.add_row(path)
    console.print(table)
    assert capfd.readouterr().out.count(path) == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a disk that is always full")
@pytest.mark.parametrize("streams", STREAMS)
def test_a_run_ends_well_whoever_takes_what_it_says(make_slide: MakeSlide, tmp_path: Path, streams: str) -> None:
    run = [sys.executable, "-m", "wsiparse", "run", str(make_slide(301, 203)), "-o", str(tmp_path / "out")]
    tone = ["--model", "tests.tiny:build_tone", "--cluster", "serial", "--no-tissue"]
    shell = ["bash", "-c", f'"$@" {streams}; exit ${{PIPESTATUS[0]}}', "bash", *run, *tone]
    done = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/drawn/summary.json").exists()
    assert "Traceback" not in done.stderr
    if streams == ">/dev/full":
        assert "standard output: No space left on device; `wsiparse status" in done.stderr

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from tests.conftest import MakeSlide
from tests.drawing import write_slides
from wsiparse.cli import main
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


def test_signs_that_a_locale_lacks_end_nothing(make_slide: MakeSlide) -> None:
    command = [sys.executable, "-m", "wsiparse", "info", str(make_slide(301, 203))]
    plain = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=plain, capture_output=True, text=True, check=True)
    assert "0.5 ?m" in done.stdout


COMMANDS = ("status", "export --format csv", "report")


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three slides."""
    folder = tmp_path_factory.mktemp("run")
    write_slides(folder / "slides", 3, (301, 203))
    tone = ["--model", "tests.tiny:build_tone", "--cluster", "serial", "--no-tissue"]
    assert main(["run", str(folder / "slides"), "-o", str(folder / "out"), *tone]) == 0
    return folder / "out"


def spell(command: str, out: Path) -> list[str]:
    name, *options = command.split()
    return [sys.executable, "-m", "wsiparse", name, str(out), *options]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_does_its_work_though_nobody_reads_to_the_end(parsed: Path, command: str) -> None:
    written = [parsed / "export/csv/s2.csv", parsed / "report.html"]
    for path in written:
        path.unlink(missing_ok=True)
    shell = ["bash", "-c", '"$@" | true; exit ${PIPESTATUS[0]}', "bash", *spell(command, parsed)]
    done = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.exists() for path in written] == [command.startswith("export"), command == "report"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a disk that is always full")
@pytest.mark.parametrize("command", ["status --json", "export --format csv"])
def test_a_full_disk_is_told_in_one_line(parsed: Path, command: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(spell(command, parsed), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "wsiparse: standard output: No space left on device; free the disk or print elsewhere\n"

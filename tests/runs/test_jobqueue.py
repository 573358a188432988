"""PBS and LSF through dask-jobqueue: a stand-in for their queue runs each job at once, on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.drawing import draw_array, draw_tissue, write_slide
from tests.outputs import hash_results
from tests.waiting import find_blocks, wait_for
from wsiparse.cli import main

pytestmark = pytest.mark.slow
SIZE = (455, 389)
SETTINGS = ["--no-tissue", "--block-tiles", "1"]
SYSTEMS = {"pbs": ("qsub", "qdel", "#PBS"), "lsf": ("bsub", "bkill", "#BSUB")}
SUBMIT = """#!/bin/bash
job=$$
cat ${1:+"$1"} >"$JOBS/$job.sh"
setsid bash "$JOBS/$job.sh" >"$JOBS/$job.log" 2>&1 &
echo $! >"$JOBS/$job.pid"
echo "Job <$job> is submitted"
"""


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "jobs"
    folder.mkdir()
    for submit, cancel, _ in SYSTEMS.values():
        (folder / submit).write_text(SUBMIT)
        (folder / cancel).write_text("#!/bin/sh\nexit 0\n")
    for program in folder.iterdir():
        program.chmod(0o755)
    yield folder
    for pid in folder.glob("*.pid"):
        end_job(pid)


def end_job(pid: Path) -> None:
    """What a batch system does at a job's walltime."""
    with suppress(ProcessLookupError):
        os.killpg(int(pid.read_text()), signal.SIGKILL)


@pytest.mark.parametrize("system", SYSTEMS)
def test_workers_are_jobs_and_one_that_ends_is_replaced(system: str, jobs: Path, tmp_path: Path) -> None:
    slide, out = tmp_path / "s.svs", tmp_path / "out"
    write_slide(slide, SIZE, 0.5, draw_array(draw_tissue(*SIZE)))
    command = ["run", str(slide), "-o", str(out), *SETTINGS]
    cluster = ["--cluster", system, "--workers", "1", "--model", "tests.tiny:build_slow"]
    prefix = f"DASK_JOBQUEUE__{system.upper()}__"
    site = {f"{prefix}MEMORY": "2GB", f"{prefix}QUEUE": "night", "JOBS": str(jobs)}
    variables = {**os.environ, **site, "PATH": f"{jobs}:{os.environ['PATH']}"}
    with ExitStack() as stack:
        process = subprocess.Popen([sys.executable, "-m", "wsiparse", *command, *cluster], env=variables)
        stack.enter_context(process)
        stack.callback(process.kill)
        wait_for(lambda: len(find_blocks(out)) > 10, seconds=120)
        (first,) = jobs.glob("*.pid")
        end_job(first)
        assert process.wait(timeout=300) == 0
    scripts = [path.read_text() for path in jobs.glob("*.sh")]
    assert len(scripts) == 2
    for script in scripts:
        assert f"{SYSTEMS[system][2]} -q night" in script
        assert "--resources GPU=1,READ=2" in script
        assert "--nthreads 4" in script
    assert main([*command[:3], str(tmp_path / "expected"), *SETTINGS, "--model", "tests.tiny:build_tone"]) == 0
    assert hash_results(out) == hash_results(tmp_path / "expected")

"""A real SLURM on this machine (start.sh): cohorts handed in as batch jobs, jobs killed, the same bytes in the end."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import waiting
from tests.drawing import write_slides
from tests.outputs import hash_results
from wsiparse.cli import main
from wsiparse.runs.run import State, open_run

pytestmark = [pytest.mark.slurm, pytest.mark.slow]
SETTINGS = ["--model", "tests.tiny:build_slow", "--block-tiles", "1"]
SIZE = (455, 389)
wait_for = functools.partial(waiting.wait_for, seconds=300, pause=0.2)


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def slurm() -> None:
    if not shutil.which("sbatch"):
        pytest.skip("no sbatch here; tests/slurm/start.sh brings one as root on Debian")
    try:
        idle = ask("sinfo", "--noheader", "--states=idle,mix")
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        idle = ""
    if not idle:
        pytest.skip("SLURM does not answer; start it with tests/slurm/start.sh")


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slides(tmp_path_factory.mktemp("slides"), 3, SIZE)


@pytest.fixture(scope="module")
def expected(slides: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("serial") / "out"
    settings = ["--model", "tests.tiny:build_tone", "--block-tiles", "1", "--cluster", "serial"]
    assert main(["run", str(slides), "-o", str(out), *settings]) == 0
    return hash_results(out)


@pytest.fixture
def submit(tmp_path: Path, slides: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """Hands in the cohort in a mode; returns the job's number."""
    handed_in: list[str] = []

    def hand_in(mode: str, jobs: int = 2) -> str:
        config = tmp_path / "slurm.toml"
        config.write_text(f'[slurm]\nmode = "{mode}"\njobs = {jobs}\ncpus = 1\ntime = "20"\n')
        command = ["submit", "--cluster", "slurm", "--config", config, slides, "-o", tmp_path / "out", *SETTINGS]
        assert main([str(word) for word in command]) == 0
        handed_in.append(capfd.readouterr().out.split()[1].rstrip(":"))
        return handed_in[-1]

    yield hand_in
    for job in handed_in:
        subprocess.run(["scancel", job], check=False)
    for log in sorted((tmp_path / "out/submit").glob("*.log")):
        print(f"--- {log.name}\n{log.read_text()[-4000:]}")


def blocks(out: Path) -> int:
    return len(waiting.find_blocks(out))


def is_gone(job: str) -> bool:
    queue = ask("squeue", "--noheader", "--format=%F")
    return job not in queue.split()


def state(job: str) -> str:
    done = subprocess.run(["squeue", "--noheader", f"--job={job}", "--format=%T"], capture_output=True, text=True)
    return done.stdout.strip()


def let_go_now(job: str) -> None:
    """SLURM holds a job that was queued up again for two minutes; the test does not wait for them."""
    wait_for(lambda: state(job) == "PENDING")
    begin = ["scontrol", "update", f"JobId={job}", "StartTime=now"]
    wait_for(lambda: subprocess.run(begin, capture_output=True).returncode == 0 or state(job) == "RUNNING")


def is_complete(out: Path) -> bool:
    run = open_run(out)
    return len(run.rows) == 3 and all(run.state(row.id) is State.DONE for row in run.rows)


def test_one_job_stops_before_its_walltime_queues_up_again_and_ends(
    submit: Callable[..., str], tmp_path: Path, expected: dict[str, str]
) -> None:
    job, out = submit("nodes"), tmp_path / "out"
    wait_for(lambda: blocks(out) > 10)
    ask("scancel", "--batch", "--signal=USR1", job)  # what --signal=B:USR1@120 sends
    let_go_now(job)
    assert not is_complete(out)
    before = blocks(out)
    wait_for(lambda: is_gone(job))
    assert before > 10
    assert is_complete(out)
    assert hash_results(out) == expected
    assert "the same command continues" in "".join(log.read_text() for log in (out / "submit").glob("*.log"))


def test_a_worker_job_that_is_cancelled_costs_its_blocks_alone(
    submit: Callable[..., str], tmp_path: Path, expected: dict[str, str]
) -> None:
    job, out = submit("workers"), tmp_path / "out"
    wait_for(lambda: blocks(out) > 5)
    workers = [name for name in ask("squeue", "--noheader", "--array", "--format=%i").split() if "_" in name]
    assert len(workers) == 2
    ask("scancel", workers[0])
    wait_for(lambda: is_gone(job))
    assert is_complete(out)
    assert hash_results(out) == expected
    wait_for(lambda: is_gone(workers[0].split("_")[0]))


def test_shards_without_dask_and_one_cancelled_are_completed_by_the_same_script(
    submit: Callable[..., str], tmp_path: Path, expected: dict[str, str]
) -> None:
    job, out = submit("array"), tmp_path / "out"
    wait_for(lambda: blocks(out / "s0") > 2 and blocks(out / "s1") > 2)
    ask("scancel", f"{job}_0")
    wait_for(lambda: is_gone(job))
    assert open_run(out).state("s1") is State.DONE
    assert not is_complete(out)
    again = ask("sbatch", "--parsable", str(out / "submit/run.sh"))
    wait_for(lambda: is_gone(again))
    assert is_complete(out)
    assert hash_results(out) == expected


@pytest.mark.parametrize(("killed", "code"), [("wsiparse run", 137), ("dask worker", 130)], ids=["run", "workers"])
def test_a_crash_of_the_run_or_of_all_its_workers_queues_it_up_again(
    submit: Callable[..., str], tmp_path: Path, expected: dict[str, str], killed: str, code: int
) -> None:
    job, out = submit("nodes"), tmp_path / "out"
    wait_for(lambda: blocks(out) > 5)
    ask("pkill", "--signal=KILL", "--full", f"{killed} .*{out}")
    let_go_now(job)
    wait_for(lambda: is_gone(job))
    assert (out / f"submit/crashes-{job}").read_text() == f"exit code {code}\n"
    assert is_complete(out)
    assert hash_results(out) == expected


def test_worker_jobs_that_have_all_ended_stop_the_run(submit: Callable[..., str], tmp_path: Path) -> None:
    job, out = submit("workers"), tmp_path / "out"
    wait_for(lambda: blocks(out) > 5)
    workers = [name for name in ask("squeue", "--noheader", "--array", "--format=%i").split() if "_" in name]
    ask("scancel", *workers)
    wait_for(lambda: state(job) == "PENDING")
    assert (out / f"submit/crashes-{job}").read_text() == "exit code 130\n"


def test_worker_jobs_that_are_refused_end_the_job(submit: Callable[..., str], tmp_path: Path) -> None:
    job = submit("workers", jobs=2000)  # more than an array may have unless configured
    wait_for(lambda: is_gone(job), seconds=60)
    assert "sbatch: error" in next((tmp_path / "out/submit").glob("*.log")).read_text()

"""Results behind an address: the same bytes as in a folder, whatever is killed, wherever the next command runs."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from tests.drawing import write_slides
from tests.outputs import hash_results
from tests.s3 import read_bucket, serve_bucket
from tests.waiting import wait_for
from wsiparse.cli import main
from wsiparse.runs.handover import STAGING_VARIABLE, find_staging
from wsiparse.runs.run import open_run

SIZE = (301, 203)
TONE = ["--model", "tests.tiny:build_tone", "--no-tissue", "--block-tiles", "2"]
URL = "s3://results/night"


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    with serve_bucket("results") as variables:
        yield variables


@pytest.fixture(autouse=True)
def bucket(server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fsspec.AbstractFileSystem:
    for name, value in {**server, STAGING_VARIABLE: str(tmp_path / "staging")}.items():
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()
    files = fsspec.filesystem("s3")
    if files.exists("results"):
        files.rm("results", recursive=True)
    files.mkdir("results")
    return files


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    return write_slides(tmp_path / "slides", 3, SIZE)


@pytest.fixture
def expected(slides: Path, tmp_path: Path) -> dict[str, str]:
    assert run(slides, tmp_path / "expected") == 0
    return hash_results(tmp_path / "expected")


def run(slides: Path, output: Path | str, *more: str, cluster: str = "serial") -> int:
    return main(["run", str(slides), "-o", str(output), "--cluster", cluster, *TONE, *more])


def hash_bucket(folder: Path) -> dict[str, str]:
    """The results behind the address, brought into a folder as a person would and hashed there."""
    for name, content in read_bucket("results/night").items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return hash_results(folder)


@pytest.mark.parametrize("cluster", ["serial", "local"])
def test_results_behind_an_address_are_those_of_a_folder(
    cluster: str, slides: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    assert run(slides, URL, cluster=cluster) == 0
    assert hash_bucket(tmp_path / "there") == expected
    assert {path.name for path in find_staging(URL).glob("s*/*")} == {"summary.json"}
    assert open_run(tmp_path / "there").record["config"]["cluster"] == cluster


def test_a_killed_run_goes_on_and_elsewhere_only_what_is_not_there_is_done(
    slides: Path, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["run", str(slides), "-o", URL, "--cluster", "serial", *TONE, "--model", "tests.tiny:build_slow"]
    process = subprocess.Popen([sys.executable, "-m", "wsiparse", *command], stderr=subprocess.PIPE)
    with process:
        wait_for(lambda: "s0/summary.json" in read_bucket("results/night"), seconds=120)
        process.send_signal(signal.SIGKILL)
    there = read_bucket("results/night")
    assert "s2/summary.json" not in there
    monkeypatch.setenv(STAGING_VARIABLE, str(tmp_path / "elsewhere"))
    assert run(slides, URL) == 0
    assert read_bucket("results/night")["s0/summary.json"] == there["s0/summary.json"]
    assert hash_bucket(tmp_path / "there") == expected


def test_what_was_done_and_not_sent_is_sent(slides: Path, expected: dict[str, str], tmp_path: Path) -> None:
    assert run(slides, find_staging(URL)) == 0
    done = {path: path.read_bytes() for path in find_staging(URL).glob("s*/summary.json")}
    assert run(slides, URL) == 0
    assert hash_bucket(tmp_path / "there") == expected
    assert {path: path.read_bytes() for path in done} == done


def test_what_was_taken_away_there_is_done_again(
    slides: Path, bucket: fsspec.AbstractFileSystem, expected: dict[str, str], tmp_path: Path
) -> None:
    assert run(slides, URL) == 0
    bucket.rm("results/night/s1", recursive=True)
    assert run(slides, URL) == 0
    assert hash_bucket(tmp_path / "there") == expected


def test_a_failed_slide_is_told_there_and_tried_again_from_anywhere(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = (slides / "s1.svs").read_bytes()
    (slides / "s1.svs").write_bytes(whole[:1000])
    assert run(slides, URL) == 3
    capfd.readouterr()
    assert main(["status", URL]) == 3
    assert "failed s1 (slide_unreadable)" in capfd.readouterr().out
    (slides / "s1.svs").write_bytes(whole)
    monkeypatch.setenv(STAGING_VARIABLE, str(tmp_path / "elsewhere"))
    assert run(slides, URL) == 3
    assert run(slides, URL, "--retry-failed") == 0
    assert "s1/failed.json" not in read_bucket("results/night")
    capfd.readouterr()
    assert main(["status", URL, "--watch"]) == 0
    assert "3 done" in capfd.readouterr().out


def test_another_run_is_refused_and_overwriting_leaves_nothing_of_it(
    slides: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(slides, URL) == 0
    (slides / "s2.svs").unlink()
    assert run(slides, URL, "--targets", "dark") == 2
    assert "--overwrite" in capfd.readouterr().err
    assert "s2/summary.json" in read_bucket("results/night")
    assert run(slides, URL, "--targets", "dark", "--overwrite") == 0
    assert run(slides, tmp_path / "expected", "--targets", "dark") == 0
    assert hash_bucket(tmp_path / "there") == hash_results(tmp_path / "expected")


def test_the_local_folder_of_a_run_that_was_replaced_is_given_up(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(slides, URL) == 0
    with monkeypatch.context() as patch:
        patch.setenv(STAGING_VARIABLE, str(tmp_path / "elsewhere"))
        assert run(slides, URL, "--targets", "dark", "--overwrite") == 0
    assert run(slides, URL, "--targets", "dark") == 0
    assert run(slides, tmp_path / "expected", "--targets", "dark") == 0
    assert hash_bucket(tmp_path / "there") == hash_results(tmp_path / "expected")


def test_shards_on_machines_of_their_own_share_an_address(
    slides: Path, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for shard in ("0/2", "1/2"):
        monkeypatch.setenv(STAGING_VARIABLE, str(tmp_path / f"host {shard[0]}"))
        assert run(slides, URL, "--shard", shard) == 0
    assert hash_bucket(tmp_path / "there") == expected


def test_slides_that_join_on_another_machine_leave_the_others_in_the_summary(
    slides: Path, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("s0", "s1", "s2"):
        monkeypatch.setenv(STAGING_VARIABLE, str(tmp_path / f"host {name}"))
        assert run(slides / f"{name}.svs", URL) == 0
    assert hash_bucket(tmp_path / "there")["summary.csv"] == expected["summary.csv"]


def test_a_second_run_is_told_who_holds_the_address(slides: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["run", str(slides), "-o", URL, "--cluster", "serial", *TONE, "--model", "tests.tiny:build_slow"]
    process = subprocess.Popen([sys.executable, "-m", "wsiparse", *command], stderr=subprocess.PIPE)
    with process:
        wait_for(lambda: ".lock/all" in read_bucket("results/night"), seconds=120)
        assert run(slides, URL) == 2
        process.send_signal(signal.SIGKILL)
    assert f"{URL}: a run is writing here" in capfd.readouterr().err
    assert run(slides, URL) == 0  # a dead run's lock is nobody's


def test_a_store_that_goes_away_ends_the_run_in_one_line(
    slides: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wsiparse.runs.retry.PAUSES_SECONDS", (0.1,))
    with serve_bucket("brief") as variables:
        monkeypatch.setenv("AWS_ENDPOINT_URL", variables["AWS_ENDPOINT_URL"])
        fsspec.filesystem("s3").clear_instance_cache()
        fsspec.filesystem("s3").mkdir("brief")
        assert run(slides, "s3://brief/night") == 0
    assert run(slides, "s3://brief/night") == 75
    shown = capfd.readouterr().err
    assert "cannot be reached" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("url", "text"), [("s3://nobody/night", "no such place"), ("what://results/night", "fsspec reaches")]
)
def test_addresses_that_lead_nowhere(url: str, text: str, slides: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(slides, url) == 2
    assert text in capfd.readouterr().err


def test_a_batch_job_wants_a_folder(slides: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", str(slides), "-o", URL, "--dry-run"]) == 2
    assert "expected one, no address" in capfd.readouterr().err


def test_a_file_address_is_its_folder(slides: Path, expected: dict[str, str], tmp_path: Path) -> None:
    assert run(slides, f"file://{tmp_path}/there") == 0
    assert hash_results(tmp_path / "there") == expected
    assert main(["status", f"file://{tmp_path}/there"]) == 0

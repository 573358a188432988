"""Clusters that cannot do the work are refused at once; those that can keep standard error for the run's own lines."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster

from tests.conftest import MakeSlide
from tests.runs.conftest import TONE, Start
from tests.waiting import wait_for
from wsiparse import __version__
from wsiparse.errors import InputError
from wsiparse.models.devices import VISIBLE
from wsiparse.runs import connect as connecting
from wsiparse.runs import roles
from wsiparse.runs import workers as counting
from wsiparse.runs.config import RunConfig
from wsiparse.runs.connect import connect


def start_cluster(workers: int, resources: dict[str, int] | None) -> LocalCluster:
    options = {"processes": False, "dashboard_address": ":0", "threads_per_worker": 1}
    return LocalCluster(n_workers=workers, resources=resources, **options)


@contextmanager
def watch_cluster(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCluster]:
    """A cluster of one worker that a run is connected to, looked at every tenth of a second."""
    monkeypatch.setattr(roles, "LOOK_SECONDS", 0.1)
    with (
        start_cluster(1, dict(roles.ROLES)) as cluster,
        caplog.at_level(logging.WARNING, roles.__name__),
        connect(RunConfig(cluster=cluster.scheduler_address)),
    ):
        yield cluster


@pytest.mark.parametrize(("resources", "missing"), [(None, "GPU"), ({"GPU": 1}, "READ"), ({"READ": 2}, "GPU")])
def test_workers_without_a_role_are_told_how_to_start(resources: dict[str, int] | None, missing: str) -> None:
    how = rf'none of its 2 workers has the resource {missing}; start them with `dask .* --resources "GPU=1 READ=2"`'
    with start_cluster(2, resources) as cluster:
        config = RunConfig(cluster=cluster.scheduler_address)
        with pytest.raises(InputError, match=how), connect(config):
            pass


def test_workers_may_come_later(caplog: pytest.LogCaptureFixture) -> None:
    with (
        start_cluster(0, None) as cluster,
        caplog.at_level(logging.WARNING, roles.__name__),
        connect(RunConfig(cluster=cluster.scheduler_address)) as client,
    ):
        assert client.status == "running"
    assert "no workers yet" in caplog.text


def test_workers_that_leave_for_good_are_told_and_those_that_come_after_them(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watch_cluster(caplog, monkeypatch) as cluster:
        cluster.scale(0)
        wait_for(lambda: "has no workers; the run waits" in caplog.text)
        cluster.scale(1)
        wait_for(lambda: "has workers again" in caplog.text)


def test_a_worker_that_does_not_answer_is_not_taken_for_one_of_another_version() -> None:
    class Client:
        def scheduler_info(self, *, n_workers: int) -> dict[str, Any]:
            return {"workers": {"tcp://a:1": {"resources": roles.ROLES}}}

        def run(self, *_: Any, **__: Any) -> dict[str, Any]:
            return {"tcp://a:1": OSError("Timed out trying to connect")}

    assert roles.list_others(Client(), ["tcp://a:1"]) == []


@pytest.mark.parametrize(
    ("found", "told"), [("0.0.1", "wsiparse 0.0.1, this command"), (ModuleNotFoundError("wsiparse"), "no wsiparse")]
)
def test_workers_without_this_version_are_refused(found: object, told: str) -> None:
    class Client:
        def scheduler_info(self, *, n_workers: int) -> dict[str, Any]:
            return {"workers": {"tcp://a:1": {"resources": roles.ROLES}}}

        def run(
            self, function: Callable[..., Any], /, *arguments: Any, workers: Sequence[str] | None, on_error: str
        ) -> dict[str, Any]:
            assert workers is None
            assert function(*arguments) == __version__
            return {"tcp://a:1": found}

    with pytest.raises(InputError, match=f"worker tcp://a:1 has {told}"):
        roles.check_workers(Client(), "tcp://b:2")


def test_workers_of_another_version_that_come_later_are_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watch_cluster(caplog, monkeypatch) as cluster:
        monkeypatch.setattr(roles, "__version__", "0.0.1")
        cluster.scale(2)
        wait_for(lambda: f"has wsiparse {__version__}, this command is 0.0.1" in caplog.text)
    assert caplog.text.count("this command is") == 1  # not of the one that was there before


def test_a_misspelt_name_is_not_waited_for() -> None:
    begin = time.monotonic()
    with (
        pytest.raises(InputError, match=r"cluster slrum: .* expected serial, local, slurm"),
        connect(RunConfig(cluster="slrum")),
    ):
        pass
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("name", ["scheduler.json", "./scheduler"])
def test_a_schedulers_file_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(connecting, "SCHEDULER_FILE_SECONDS", 0.5)
    begin = time.monotonic()
    with pytest.raises(InputError, match="no such scheduler file"), connect(RunConfig(cluster=name)):
        pass
    assert time.monotonic() - begin >= 0.5


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_standard_error_holds_the_runs_own_lines_alone(
    start: Start, make_slide: MakeSlide, tmp_path: Path, workers: str
) -> None:
    good, bad = make_slide(301, 203, name="good.svs"), tmp_path / "bad.svs"
    bad.write_bytes(b"not a slide")
    process = start(good, bad, "-o", tmp_path / "out", *TONE, "--cluster", "local", "--workers", workers)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 3
    events = {(line["slide"], line["event"]) for line in map(json.loads, told.splitlines())}
    assert {("bad", "failed"), ("good", "done")} < events


class Started(Exception):
    """Processes would be started now."""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Which devices each process would see on a machine of two accelerators; None for all."""
    found: list[str | None] = []

    def start(workers: dict[int, Any]) -> LocalCluster:
        found.extend(worker["options"]["env"].get(VISIBLE) for worker in workers.values())
        raise Started

    monkeypatch.setattr(connecting, "_start_specified", start)
    monkeypatch.setattr(counting, "count_accelerators", lambda: 2)
    return found


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("", ["0", "1"]), ("2,3", ["2", "3"]), ("MIG-8f2b, MIG-91c0", ["MIG-8f2b", "MIG-91c0"])],
)
def test_each_process_sees_one_of_the_accelerators_that_the_run_was_given(
    seen: list[str | None], monkeypatch: pytest.MonkeyPatch, visible: str, expected: list[str]
) -> None:
    monkeypatch.setenv(VISIBLE, visible)
    with pytest.raises(Started), connect(RunConfig()):
        pass
    assert seen == expected


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_a_device_that_is_named_is_reached_from_one_process_or_shared_by_all_that_are_asked_for(
    seen: list[str | None], device: str
) -> None:
    with connect(RunConfig(device=device)) as client:
        assert len(client.scheduler_info()["workers"]) == 1
    assert seen == []
    with pytest.raises(Started), connect(RunConfig(device=device, workers=3)):
        pass
    assert seen == [None, None, None]

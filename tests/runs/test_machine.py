"""A run takes no more memory than whoever started it allows."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from wsiparse.models import cgroups
from wsiparse.runs import machine
from wsiparse.runs.config import RunConfig
from wsiparse.runs.room import Room, measure_room


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    monkeypatch.setattr(cgroups, "OWN", tmp_path / "own")
    for name in ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)


def limit(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"{text}\n")


def test_without_a_limit_what_is_free_may_be_used() -> None:
    assert 0 < machine.usable_memory() < 1 << 50


def test_the_least_limit_of_the_groups_above_counts(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("0::/job/step\n")
    limit(tmp_path / "job/step", "memory.max", "max")
    limit(tmp_path / "job", "memory.max", "3000000")
    limit(tmp_path, "memory.max", "9000000")
    assert machine.usable_memory() == 3_000_000


def test_workers_share_the_processors_that_are_left_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert cgroups.count_processors() == 6
    (tmp_path / "own").write_text("0::/pod\n")
    limit(tmp_path / "pod", "cpu.max", "450000 100000")
    assert cgroups.count_processors() == 4
    limit(tmp_path, "cpu.max", "50000 100000")
    assert cgroups.count_processors() == 1


def test_what_a_run_holds_already_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=5_000_000))
    assert machine.usable_memory() == 5_000_000
    assert machine.usable_memory(held=2_000_000) == 7_000_000
    assert measure_room(RunConfig()).memory_bytes > 5_000_000
    assert measure_room(RunConfig(workers=3)) == Room(5_000_000, processes=3)
    assert measure_room(RunConfig(workers=3, cluster="tcp://head:8786")).processes == 1
    assert measure_room(RunConfig(workers=3, memory_gb=2)) == Room(2_000_000_000)


def test_the_older_interface(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("5:cpu:/other\n4:memory:/job\n")
    limit(tmp_path / "memory/job", "memory.limit_in_bytes", "2000000")
    limit(tmp_path / "memory/other", "memory.limit_in_bytes", "1")
    assert machine.usable_memory() == 2_000_000


@pytest.mark.parametrize(
    ("variables", "mebibytes"),
    [
        ({"SLURM_MEM_PER_NODE": "7"}, 7),
        ({"SLURM_MEM_PER_CPU": "3", "SLURM_CPUS_ON_NODE": "2"}, 6),
        ({"SLURM_MEM_PER_NODE": "0", "SLURM_MEM_PER_CPU": "5", "SLURM_CPUS_ON_NODE": "1"}, 5),
    ],
)
def test_slurms_allocation(variables: dict[str, str], mebibytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert machine.usable_memory() == mebibytes << 20

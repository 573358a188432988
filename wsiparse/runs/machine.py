"""What this machine leaves to a run."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import psutil

from wsiparse.models.cgroups import read_limits

MEMORY_LIMITS = {"": "memory.max", "memory": "memory.limit_in_bytes"}
"""The file of the newer interface of control groups, and of the older one."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
LARGE_ARRAY_BYTES = 4 << 20
KEPT_BYTES = 16 << 20
"""Of smaller arrays that were freed, kept for the next: returned one by one they come back a page of 4 kB at a time."""


@functools.cache
def return_freed_memory() -> None:
    """Have this process give large arrays back to the system when they are freed; once, and only with glibc.

    Left to itself glibc learns from the first freed array to keep later ones, in an arena for each thread: half a
    gigabyte that nothing uses, in a process that does a block's work.
    """
    if platform.libc_ver()[0] == "glibc":
        allocator = ctypes.CDLL(None)
        allocator.mallopt(M_MMAP_THRESHOLD, LARGE_ARRAY_BYTES)
        allocator.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        allocator.mallopt(M_ARENA_MAX, 2)


def usable_memory(held: int = 0) -> int:
    """Bytes of memory a run may use: the least of what is free, the cgroup's limit and SLURM's allocation.

    `held` of them the run has already, so that they are not free.
    """
    limits: list[int] = [psutil.virtual_memory().available + held, *_cgroup_limits(), *_slurm_limits()]
    return min(limits)


def own_memory() -> int:
    """Bytes that would be free if this process ended."""
    held: int = psutil.Process().memory_full_info().uss
    return held


def _cgroup_limits() -> list[int]:
    return [int(text) for text in read_limits(MEMORY_LIMITS) if text.isdigit()]


def _slurm_limits() -> list[int]:
    node, each = (_read_number(f"SLURM_MEM_PER_{part}") for part in ("NODE", "CPU"))
    limits = (node, each * _read_number("SLURM_CPUS_ON_NODE"))
    return [limit << 20 for limit in limits if limit]  # SLURM counts MiB; 0 means no limit


def _read_number(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() else 0


def free_disk(path: Path) -> int:
    """Bytes free where `path` will be written."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def used_disk(path: Path) -> int:
    """Bytes that the files in a folder take, which need not be there."""
    return sum(file.stat().st_blocks * 512 for file in path.rglob("*") if file.is_file())


def describe_machine() -> dict[str, Any]:
    """Name, processors, memory and system, for the record of a run."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    }

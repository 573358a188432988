"""What this machine leaves to a run."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any

import psutil

CGROUP_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
SLURM_VARIABLES = ("SLURM_MEM_PER_NODE",)


def usable_memory() -> int:
    """Bytes of memory a run may use: the least of what is free, the cgroup's limit and SLURM's allocation."""
    limits: list[int] = [psutil.virtual_memory().available, *_cgroup_limits(), *_slurm_limits()]
    return min(limits)


def _cgroup_limits() -> list[int]:
    texts = [Path(name).read_text().strip() for name in CGROUP_FILES if Path(name).exists()]
    return [int(text) for text in texts if text.isdigit()]


def _slurm_limits() -> list[int]:
    texts = [os.environ.get(name, "") for name in SLURM_VARIABLES]
    return [int(text) << 20 for text in texts if text.isdigit() and int(text)]  # SLURM counts MiB; 0 means no limit


def free_disk(path: Path) -> int:
    """Bytes free where `path` will be written."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def describe_machine() -> dict[str, Any]:
    """Name, processors, memory and system, for the record of a run."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    }

"""The limits that control groups of Linux set to a process: containers, batch systems and services use them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
PROCESSOR_LIMIT = {"": "cpu.max"}
"""Microseconds of processor that a control group may use, and of which period; `max` where it may use all."""


def count_processors() -> int:
    """Processors for this process: those that it is bound to, or as many as its control group leaves it the time of."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([bound, *list_shares()])


def list_shares() -> list[int]:
    """How many processors each control group above this process may use the time of, at least one."""
    limits = [text.split() for text in read_limits(PROCESSOR_LIMIT)]
    return [max(int(share) // int(period), 1) for share, period in limits if share != "max"]


def read_limits(names: Mapping[str, str]) -> list[str]:
    """What the files of a limit say for this process's group and all above it.

    `names` are those of the file by controller, as the older interface calls it; the newer one's is the empty name.
    """
    lines = OWN.read_text().splitlines() if OWN.exists() else []
    files = [file for line in lines for file in _list_files(names, *line.split(":", 2)[1:])]
    return [file.read_text().strip() for file in files if file.exists()]


def _list_files(names: Mapping[str, str], controller: str, path: str) -> list[Path]:
    if controller not in names:
        return []
    root = ROOT / controller
    own = root / path.lstrip("/")
    return [folder / names[controller] for folder in (own, *own.parents) if folder.is_relative_to(root)]

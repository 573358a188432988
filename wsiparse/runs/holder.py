"""Who holds a lock, and whether that process still lives as far as can be told from here."""

from __future__ import annotations

import os
import platform
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from wsiparse.errors import RunError


@dataclass(frozen=True)
class Holder:
    """One run, and the part of a folder that it holds."""

    token: str
    scope: str
    host: str
    processes: str
    """The name of the space that `pid` is counted in: containers of one host each have their own."""
    pid: int
    born: float
    """When the process started, in seconds since 1970: a process id is used again, the pair is not."""
    since: str

    @property
    def is_dead(self) -> bool:
        """Whether its process is seen to be gone; one that cannot be seen from here is not."""
        return self.processes == name_processes() and not self.lives_here

    @property
    def lives_here(self) -> bool:
        """Whether its process is seen to live on this machine."""
        if self.processes != name_processes():
            return False
        try:
            process = psutil.Process(self.pid)
            return bool(abs(process.create_time() - self.born) < 1 and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    def refuse(self, output: Path | str) -> RunError:
        """The error of whoever comes second."""
        part = "a run" if self.scope == "all" else f"shard {self.scope.replace('-of-', '/')} of a run"
        return RunError(
            f"{output}: {part} is writing here (host {self.host}, process {self.pid}, since {self.since}); "
            "wait for it, stop it, or choose another folder"
        )


def introduce(shard: tuple[int, int] | None) -> Holder:
    """This process as the holder of a folder, or of one shard (i, n) of it."""
    scope, pid = "all" if shard is None else f"{shard[0]}-of-{shard[1]}", os.getpid()
    born, since = psutil.Process(pid).create_time(), datetime.now(UTC).isoformat(timespec="seconds")
    return Holder(uuid.uuid4().hex, scope, platform.node(), name_processes(), pid, born, since)


def name_processes() -> str:
    """The name of the space that this process's id is counted in, until the machine starts anew.

    Machines that were set up alike may all have one name.
    """
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    started = boot.read_text().strip() if boot.exists() else ""
    return f"{platform.node()}/{started}/{space.stat().st_ino if space.exists() else ''}"


def overlap(one: str, other: str) -> bool:
    """Whether two scopes exclude each other: shards of one number do not, everything else does."""
    counts = {name.rpartition("-of-")[2] for name in (one, other)}
    return "all" in counts or len(counts) > 1 or one == other

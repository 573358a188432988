"""What a command and all its children take: seconds, seconds of processor, memory at the peak. Linux only.

Memory is the proportional set size, so that what several processes share counts once; of it, pages of files (libraries,
an `np.memmap`) are told apart, which the system may drop when somebody needs the room.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
INTERVAL = 0.1
MEMORY_SHARE = 0.9
"""A command that takes more than this share of the memory that was free before it is stopped."""


@dataclass(frozen=True)
class Sample:
    """Memory of a process and its children at a moment."""

    time: float
    total: int
    files: int


@dataclass(frozen=True)
class Cost:
    """What a command took, and what it printed."""

    began: float
    ended: float
    processor_seconds: float
    samples: tuple[Sample, ...] = field(repr=False)
    output: str = field(repr=False)
    trouble: str = ""
    """Why it did not end well; empty where it did."""

    @property
    def seconds(self) -> float:
        """From the start of the process to its end."""
        return self.ended - self.began

    def peak_gb(self, until: float | None = None) -> float:
        """The most memory up to a moment, else to the end."""
        return max((s.total for s in self.samples if until is None or s.time <= until), default=0) / 1e9

    def private_peak_gb(self, until: float | None = None) -> float:
        """The same without pages of files."""
        return max((s.total - s.files for s in self.samples if until is None or s.time <= until), default=0) / 1e9


def measure_command(
    command: Sequence[str | Path], environment: Mapping[str, str] | None = None, seconds: float = 3600
) -> Cost:
    """Run a command to its end, or until it takes too much memory or more than so many seconds."""
    limit = MEMORY_SHARE * psutil.virtual_memory().available
    samples: list[Sample] = []
    with tempfile.TemporaryFile("w+") as output:
        began = time.time()
        process = start_command(command, environment, output.fileno())
        trouble = ""
        while not (ended := os.wait4(process.pid, 0 if trouble else os.WNOHANG))[0]:
            samples.append(sample_memory(process.pid))
            trouble = _judge(samples[-1], limit, began + seconds)
            if trouble:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(INTERVAL)
        now = time.time()
        _, status, usage = ended
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode and not trouble:
        trouble = f"ended with {process.returncode}"
    return Cost(began, now, usage.ru_utime + usage.ru_stime, tuple(samples), text, trouble)


def start_command(
    command: Sequence[str | Path], environment: Mapping[str, str] | None, output: int, errors: int | None = None
) -> subprocess.Popen[str]:
    """Start a command in a group of its own, where `python -m benchmarks…` finds this repository."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    words = [str(word) for word in command]
    return subprocess.Popen(
        words, stdout=output, stderr=errors, env=variables, cwd=ROOT, start_new_session=True, text=True
    )


def own_python(module: str, *arguments: object) -> list[str]:
    """A command that runs a module in this environment."""
    return [sys.executable, "-m", module, *(str(argument) for argument in arguments)]


def sample_memory(pid: int) -> Sample:
    """Memory of a process and its children now; one that ends meanwhile counts nothing."""
    total = files = 0
    for one in list_tree(pid):
        fields = _read_rollup(one)
        total += fields.get("Pss", 0)
        files += fields.get("Pss_File", 0)
    return Sample(time.time(), total, files)


def list_tree(pid: int) -> list[int]:
    """Ids of a process and its children, theirs and so on."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _read_rollup(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return {}
    pairs = (line.split(":") for line in lines)
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}


def _judge(sample: Sample, limit: float, end: float) -> str:
    if sample.total > limit:
        return f"stopped at {sample.total / 1e9:.1f} GB"
    return "stopped: took too long" if sample.time > end else ""

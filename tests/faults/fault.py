"""Kills one of client, worker and scheduler at a chosen call of a chosen function, and starts again what died.

Processes are forked from one that has already imported everything, so that a case takes seconds.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any, Literal

import dask
import distributed

from wsiparse import cli
from wsiparse.runs.roles import ROLES

KILLED = -9
"""Exit code of a process that was struck."""
Part = Literal["client", "worker", "scheduler"]
Place = Literal["client", "worker"]


@dataclass(frozen=True)
class Fault:
    """`victim` is killed when `where` is about to make the n-th call of a function, or has just made it."""

    victim: Part
    where: Place
    function: str
    """`module:name` below wsiparse (or of os), as the caller looks it up."""
    call: int = 1
    after: bool = False

    def __str__(self) -> str:
        when = "after" if self.after else "before"
        return f"{self.victim}-{when}-{self.function.rpartition(':')[2]}-{self.call}"


def set_trap(fault: Fault, folder: Path) -> None:
    """Replace the function in this process by one that kills at its n-th call; `folder` holds the process ids."""
    module_name, _, path = fault.function.partition(":")
    owner: Any = importlib.import_module(module_name if module_name == "os" else f"wsiparse.{module_name}")
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    function = getattr(owner, name)
    calls: list[None] = []

    @functools.wraps(function)
    def trapped(*arguments: Any, **options: Any) -> Any:
        calls.append(None)
        now = len(calls) == fault.call
        if now and not fault.after:
            strike(fault.victim, folder)
        result = function(*arguments, **options)
        if now and fault.after:
            strike(fault.victim, folder)
        return result

    setattr(owner, name, trapped)


def strike(victim: Part, folder: Path) -> None:
    (folder / "struck").touch()
    os.kill(int((folder / victim).read_text()), signal.SIGKILL)


def be_scheduler(folder: Path) -> None:
    begin(folder, "scheduler")

    async def serve() -> None:
        async with distributed.Scheduler(host="127.0.0.1", port=0, dashboard=False) as scheduler:
            announce(folder / "address", scheduler.address)
            await scheduler.finished()

    asyncio.run(serve())


def be_worker(folder: Path, fault: Fault | None) -> None:
    begin(folder, "worker")
    if fault and fault.where == "worker":
        set_trap(fault, folder)

    async def serve() -> None:
        address = (folder / "address").read_text()
        worker = distributed.Worker(address, nthreads=4, resources=dict(ROLES), memory_limit=0, dashboard=False)
        async with worker:
            await worker.finished()

    asyncio.run(serve())


def be_client(folder: Path, fault: Fault | None, arguments: Sequence[str], serial: bool) -> None:
    begin(folder, "client")
    if fault and (fault.where == "client" or serial):
        set_trap(fault, folder)
    cluster = "serial" if serial else (folder / "address").read_text()
    sys.exit(cli.main(["run", *arguments, "--cluster", cluster]))


def begin(folder: Path, part: Part) -> None:
    log = os.open(folder / f"{part}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    dask.config.set({"distributed.comm.timeouts.connect": "10s", "temporary-directory": str(folder)})
    announce(folder / part, str(os.getpid()))


def announce(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


class Stage:
    """One folder with a scheduler and a worker that are started again when they are gone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.context: ForkServerContext = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["tests.faults.fault", "wsiparse.runs.api", "tests.tiny"])
        self.parts: dict[str, ForkServerProcess] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, arguments: Sequence[str], fault: Fault | None = None, serial: bool = False) -> int:
        """Run the command until it ends; a worker that dies is replaced, as a batch system would."""
        if not serial:
            self.keep(fault)
        client = self.start("client", be_client, fault, arguments, serial)
        end = time.monotonic() + 120
        while client.is_alive() and time.monotonic() < end:
            client.join(0.05)
            if not serial and self.alive("scheduler") and not self.alive("worker"):
                self.start("worker", be_worker, None)
        assert not client.is_alive(), f"the client hangs; logs are in {self.folder}"
        return client.exitcode or 0

    def struck(self) -> bool:
        """Whether the fault came to pass; asked once."""
        mark = self.folder / "struck"
        happened = mark.exists()
        mark.unlink(missing_ok=True)
        return happened

    def keep(self, fault: Fault | None) -> None:
        """See to it that there are a scheduler and a worker, the worker with its trap set."""
        if not self.alive("scheduler"):
            (self.folder / "address").unlink(missing_ok=True)
            self.end("worker")
            self.start("scheduler", be_scheduler)
            wait_for_file(self.folder / "address")
        if not self.alive("worker") or (fault and fault.where == "worker"):
            self.end("worker")
            self.start("worker", be_worker, fault)

    def start(self, part: Part, function: Callable[..., None], *arguments: Any) -> ForkServerProcess:
        (self.folder / part).unlink(missing_ok=True)
        process = self.context.Process(target=function, args=(self.folder, *arguments), daemon=True)
        process.start()
        self.parts[part] = process
        wait_for_file(self.folder / part)
        return process

    def alive(self, part: Part) -> bool:
        return part in self.parts and self.parts[part].is_alive()

    def end(self, part: Part) -> None:
        if part in self.parts:
            self.parts[part].kill()
            self.parts[part].join()

    def close(self) -> None:
        for part in ("client", "worker", "scheduler"):
            self.end(part)


def wait_for_file(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.01)

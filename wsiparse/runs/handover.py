"""Results that go behind an address: a slide is worked on in a local folder and handed over when it is done.

What is behind the address tells which slides are done, for its mark is sent last; the local folder keeps the blocks of
those that are not, and of the others the mark alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import orjson

from wsiparse.runs.address import Address, find_local, open_address
from wsiparse.runs.address_lock import hold_address
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.marks import BEGINNING, DONE, FAILED, MARKS, fetch_state, read_marks, write_files
from wsiparse.runs.pipeline import BlockRecord, Listener
from wsiparse.runs.retry import retry_passing
from wsiparse.runs.run import EXPORTS, RECORDS, Run, Start, State, refuse_other
from wsiparse.runs.summary import write_summary
from wsiparse.slides.remote import name_remote

STAGING_VARIABLE = "WSIPARSE_STAGING"
"""Environment variable: the folder to work in; every worker must see it under the same path."""
SENDERS = 2
WAITING = 4
"""Slides done but not yet sent, before the run waits for the network: the local folder stays small."""


@contextmanager
def open_output(
    output: str, start: Start, rows: Sequence[ManifestRow], listen: Listener
) -> Iterator[tuple[Path, Listener]]:
    """The folder to work in and whom to tell; what is done goes behind the address meanwhile, if `output` is one.

    Raises RunError where another run holds the address, ConnectionError where it cannot be reached.
    """
    if folder := find_local(output):
        yield folder, listen
        return
    address, run = open_address(output), Run(find_staging(output))
    with hold_address(address, start.shard), ThreadPoolExecutor(SENDERS, "handover") as pool:
        handover = Handover(address, run, start, listen, pool)
        handover.compare(rows)
        yield run.path, handover.listen
        handover.end()


def find_staging(url: str) -> Path:
    """The local folder in which the slides of an address are worked on."""
    root = Path(os.environ.get(STAGING_VARIABLE) or Path.home() / ".cache/wsiparse/outputs")
    return root.resolve() / f"{name_remote(url.rstrip('/'))}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


class Handover:
    """What stands between a run in its local folder and its address; told of the run's events."""

    def __init__(self, address: Address, run: Run, start: Start, listen: Listener, pool: ThreadPoolExecutor) -> None:
        self.address, self.run, self.start, self.pass_on, self.pool = address, run, start, listen, pool
        self.sending: deque[Future[None]] = deque()
        self.failed_there: set[str] = set()
        self.begun = False

    def compare(self, rows: Sequence[ManifestRow]) -> None:
        """Make the local folder say of our slides what the address says; send what was done and is not there."""
        if self.start.overwrite:
            return
        self._take_records()
        begun = self.run.rows if (self.run.path / "slides.csv").exists() else []
        mine = self.start.share(self.run.recognize(rows) if begun else rows, begun)
        found = read_marks(self.address, mine)
        for row in mine:
            self._compare_slide(row.id, found)

    def listen(self, event: str, slide: str, record: BlockRecord | None) -> None:
        """Hand over what is done or failed; ConnectionError where what was handed over before could not be sent."""
        if event == "started":
            self._begin()
            self._settle(WAITING)
        if event in {"done", "failed"}:
            self._submit(slide)
        self.pass_on(event, slide, record)

    def end(self) -> None:
        """Wait for what is being sent, and send the run's own records."""
        self._settle(0)
        self.address.send(self.run.path, [name for name in RECORDS if (self.run.path / name).exists()])
        self._summarize_all()

    def _summarize_all(self) -> None:
        """Tell of slides of other shards and commands as well: their marks are there, and not all of them here."""
        sent: dict[str, State] | None = None
        with tempfile.TemporaryDirectory() as copy:
            while (states := write_summary(fetch_state(self.address, Path(copy)))) != sent:
                self.address.send(Path(copy), ["summary.csv"])
                sent = states

    def _take_records(self) -> None:
        found = self.address.read(BEGINNING)
        if "run.json" not in found:
            return
        mine = self.run.path / "run.json"
        if mine.exists() and self.run.record["fingerprint"] != orjson.loads(found["run.json"])["fingerprint"]:
            shutil.rmtree(self.run.path)  # left by a run that another one took the place of
        write_files(self.run.path, found)

    def _compare_slide(self, slide: str, found: Mapping[str, bytes]) -> None:
        folder = self.run.folder(slide)
        there = next((mark for mark in MARKS if f"{slide}/{mark}" in found), None)
        here = next((mark for mark in reversed(MARKS) if (folder / mark).exists()), None)
        if there == FAILED:
            self.failed_there.add(slide)
        if there == DONE and (here != DONE or self._is_whole(slide)):
            shutil.rmtree(folder, ignore_errors=True)
        elif here == DONE and there != DONE and not self._is_whole(slide):
            (folder / DONE).unlink()  # it was done, and taken away there
        elif here and here != there:
            self._submit(slide)
            return
        if there:
            write_files(self.run.path, {f"{slide}/{there}": found[f"{slide}/{there}"]})

    def _is_whole(self, slide: str) -> bool:
        """Whether all of a slide that is done is in the local folder, and not its mark alone."""
        folder = self.run.folder(slide)
        return (folder / "annotations.parquet").exists() or self.run.state(slide) is State.EMPTY

    def _begin(self) -> None:
        """Before the first slide: clear the address if so told, and say there what runs."""
        if self.begun:
            return
        self.begun = True
        if self.start.overwrite:
            self._clear()
        if not self.address.create("run.json", (self.run.path / "run.json").read_bytes()):
            mine = self.run.record["fingerprint"]
            write_files(self.run.path, self.address.read(["run.json"]))
            refuse_other(self.run, mine)
        self.address.send(self.run.path, ["slides.csv"])

    def _clear(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder), self.address.read(["slides.csv"]))
            rows = Run(Path(folder)).rows if Path(folder, "slides.csv").exists() else []
        self.address.remove([*(row.id for row in rows), EXPORTS, *RECORDS])

    def _submit(self, slide: str) -> None:
        self._settle(WAITING - 1)
        self.sending.append(self.pool.submit(self._send, slide))

    def _settle(self, left: int) -> None:
        """Wait until no more than so many slides are being sent; raises what sending one raised."""
        while self.sending and (len(self.sending) > left or self.sending[0].done()):
            self.sending.popleft().result()

    @retry_passing
    def _send(self, slide: str) -> None:
        folder = self.run.folder(slide)
        if self.run.state(slide) is State.FAILED:
            self.address.send(self.run.path, [f"{slide}/{FAILED}"])
            return
        results = [entry for entry in folder.iterdir() if entry.name != DONE]
        files = [path for entry in results for path in (entry, *entry.rglob("*")) if path.is_file()]
        self.address.send(self.run.path, [str(path.relative_to(self.run.path)) for path in files])
        self.address.send(self.run.path, [f"{slide}/{DONE}"])
        if slide in self.failed_there:
            self.address.remove([f"{slide}/{FAILED}"])
        for entry in results:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

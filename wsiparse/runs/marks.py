"""What an address says of a run: its records, and of each slide the mark that it is done or failed."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from wsiparse.errors import RunError
from wsiparse.files import write_whole
from wsiparse.runs.address import Address, find_local, open_address
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.run import Run, open_run

MARKS = DONE, FAILED = "summary.json", "failed.json"
BEGINNING = ("run.json", "slides.csv")
"""Records that are there from a run's first slide on."""


@contextmanager
def look_at(output: str) -> Iterator[Callable[[], Run]]:
    """How to see where a run in a folder or behind an address stands, as often as wanted.

    Raises RunError, then or at each look, where there is no run.
    """
    if folder := find_local(output):
        yield functools.partial(open_run, folder)
        return
    with tempfile.TemporaryDirectory() as copy:
        yield functools.partial(fetch_state, open_address(output), Path(copy))


def fetch_state(address: Address, folder: Path) -> Run:
    """The records and marks behind an address, brought into a local folder, as a run to look at."""
    records, run = address.read(BEGINNING), Run(folder)
    if "run.json" not in records:
        raise RunError(f"{address.url}: no run.json; expected the output of `wsiparse run`")
    write_files(folder, records)
    for row in run.rows:
        (run.folder(row.id) / FAILED).unlink(missing_ok=True)
    write_files(folder, read_marks(address, run.rows))
    return run


def read_marks(address: Address, rows: Sequence[ManifestRow]) -> dict[str, bytes]:
    """The marks of slides, by their names below the address."""
    return address.read([f"{row.id}/{mark}" for row in rows for mark in MARKS])


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files, by their names below a folder."""
    for name, content in contents.items():
        with write_whole(folder / name) as partial:
            partial.write_bytes(content)

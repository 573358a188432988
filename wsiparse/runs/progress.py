"""How far a run is: bars on a terminal, JSON lines where nobody watches."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from wsiparse.files import print_line
from wsiparse.runs.pipeline import BlockRecord, Listener


@contextmanager
def watch(slides: int) -> Iterator[Listener]:
    """A listener that shows the progress of so many slides on standard error, as long as that takes it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _report_lines
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, TextColumn("{task.fields[note]}"), console=console, transient=True)
    with suppress(OSError):
        progress.start()
    try:
        yield _Bars(progress, progress.add_task("slides", total=slides, note="")).listen
    finally:
        with suppress(OSError):
            progress.stop()


def _report_lines(event: str, slide: str, record: BlockRecord | None) -> None:
    if event != "block":
        print_line(json.dumps({"time": round(time.time(), 3), "event": event, "slide": slide}), sys.stderr)


class Tried:
    """Notes which slides a command took up, and passes on what it hears; of others a failure is an earlier one."""

    def __init__(self, pass_on: Listener) -> None:
        self.pass_on = pass_on
        self.slides: set[str] = set()

    def listen(self, event: str, slide: str, record: BlockRecord | None) -> None:
        """Told of events as every listener."""
        if event == "started":
            self.slides.add(slide)
        self.pass_on(event, slide, record)


class _Bars:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self.progress, self.task = progress, task
        self.tiles, self.start = 0, time.perf_counter()

    def listen(self, event: str, slide: str, record: BlockRecord | None) -> None:
        self.tiles += record.tiles if record else 0
        rate = self.tiles / (time.perf_counter() - self.start)
        if event in {"matched", "warned"}:
            with suppress(OSError):
                self.progress.console.print(slide, highlight=False, markup=False)
            return
        finished = int(event in {"done", "failed"})
        self.progress.update(self.task, advance=finished, note=f"{slide}: {self.tiles} tiles, {rate:.1f} a second")

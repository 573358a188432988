"""How far a training is: a bar on a terminal, lines for people where nobody watches, JSON lines in log.jsonl always."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from wsiparse.errors import OutputError
from wsiparse.files import print_line, write_whole


class Log:
    """The log of one training folder; what is written counts the steps done."""

    def __init__(self, out: Path, progress: Progress, steps: int) -> None:
        self._path, self._progress = out / "log.jsonl", progress
        self._task = progress.add_task("training", total=steps, loss="")

    def rewind(self, step: int) -> None:
        """Drop what a stopped training wrote after the checkpoint at which it is taken up."""
        lines = self._path.read_text("utf-8", errors="replace").splitlines() if self._path.exists() else []
        kept = [line for line in lines if _read_step(line) <= step]
        with write_whole(self._path) as partial:
            partial.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self._progress.update(self._task, completed=step)

    def advance(self, step: int, loss: float) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=step, loss=f"loss {loss:.4g}")

    def write(self, step: int, values: Mapping[str, float | None]) -> None:
        """One line for people, of what has a value, and one of JSON."""
        shown = [f"{name} {value:.4g}" for name, value in values.items() if value is not None]
        self.say(f"step {step:6d}  " + "  ".join(shown))
        self.note(step, values)

    def say(self, text: str) -> None:
        """One line for people alone; where nobody takes it any more the training goes on."""
        if self._progress.disable:
            print_line(text, sys.stdout)
            return
        with suppress(OSError):
            self._progress.console.print(text, markup=False, soft_wrap=True)

    def note(self, step: int, values: Mapping[str, object]) -> None:
        """One line of JSON alone; OutputError where it cannot be written."""
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
        except OSError as error:
            raise OutputError(f"{self._path}: cannot write: {error.strerror}; free the disk and continue") from error


def _read_step(line: str) -> float:
    """The step of a line; beyond all steps for one that was cut short or spoiled when its training was killed."""
    with suppress(ValueError, TypeError, LookupError):
        return int(json.loads(line)["step"])
    return math.inf


@contextmanager
def open_log(out: Path, steps: int) -> Iterator[Log]:
    """The log of a training of so many steps; a bar moves below its lines where standard output is a terminal."""
    console = Console(highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    last = (TimeRemainingColumn(), TextColumn("{task.fields[loss]}"))
    with Progress(*columns, *last, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Log(out, progress, steps)

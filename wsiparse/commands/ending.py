"""How a command ends: its exit code, and where it prints."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from rich.console import Console

from wsiparse.errors import OutputError
from wsiparse.files import silence

OK, WRONG_INPUT, SOME_FAILED, LOST = 0, 2, 3, 75


class _Page(Console):
    """Where a command prints; its work goes on where nobody reads that to the end, as with `| head`."""

    def on_broken_pipe(self) -> None:
        """Print no more; rich would end the program, with what is left undone."""
        self.quiet = True
        silence(sys.stdout)

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich does; OutputError where the disk that it goes to is full."""
        try:
            super().print(*objects, **options)
        except OSError as error:
            silence(sys.stdout)
            raise OutputError(f"standard output: {error.strerror}; free the disk or print elsewhere") from error


def _open_console(file: TextIO | None, terminal: bool | None) -> Console:
    return _Page(
        file=file,
        force_terminal=terminal,
        # Paths are shown as they are, whatever [brackets] and :colons: they have.
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
        width=None if sys.stdout and sys.stdout.isatty() else 120,  # for logs
    )


console = _open_console(None, None)


def print_any_text() -> None:
    """Let standard output show ? for signs that its encoding lacks, as µ and – do in some locales."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


@contextmanager
def print_last(instead: str) -> Iterator[Console]:
    """A console for what a command that has done its work says of it, printed when the block ends.

    Where nobody takes it, `instead` is printed on standard error, and the command ends as its work did.
    """
    page = io.StringIO()
    yield _open_console(page, console.is_terminal)
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(page.getvalue())
        sys.stdout.flush()
    except OSError as error:
        silence(sys.stdout)
        with suppress(OSError):
            print(f"wsiparse: standard output: {error.strerror}; {instead}", file=sys.stderr)

"""How a command ends: its exit code, and where it prints."""

from __future__ import annotations

import sys

from rich.console import Console

OK, WRONG_INPUT, SOME_FAILED, LOST = 0, 2, 3, 75
# Paths are shown as they are, whatever [brackets] and :colons: they have.
console = Console(
    highlight=False,
    markup=False,
    emoji=False,
    soft_wrap=True,
    width=None if sys.stdout.isatty() else 120,  # for logs
)

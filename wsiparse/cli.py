"""The command line: words in, a function called, one line out where something is wrong.

Exit codes: 0 all slides done · 2 the command or its input is wrong · 3 some slides failed · 75 the scheduler, the run's
folder or the accelerator was lost and 130 stopped, where the same command continues · 1 a bug.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import sys
from collections.abc import Sequence

from wsiparse import __version__
from wsiparse.commands import look, models, run, score, show, submit
from wsiparse.commands.ending import LOST, WRONG_INPUT, print_any_text
from wsiparse.errors import WsiparseError

COMMANDS = (run, submit, look, score, show, models)

# Python looks through all that torch and Dask ever made, several times, before it ends: most of a second, for nothing.
atexit.register(gc.freeze)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    print_any_text()
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except WsiparseError as error:
        print(f"wsiparse: {error}", file=sys.stderr)
        return WRONG_INPUT
    except ConnectionError as error:
        print(f"wsiparse: {error}", file=sys.stderr)
        return LOST
    except KeyboardInterrupt:
        print("wsiparse: stopped; the same command continues where this one ended", file=sys.stderr)
        return 130
    return code


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = argparse.ArgumentParser(prog="wsiparse", description="Text-prompted parsing of whole-slide images.")
    parser.add_argument("--version", action="version", version=f"wsiparse {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for part in COMMANDS:
        part.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""`wsiparse run`: parse slides."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wsiparse.commands.ending import OK, SOME_FAILED, WRONG_INPUT, print_last
from wsiparse.commands.settings import add_settings, read_settings


def add_commands(commands: Any) -> None:
    """Add `run`."""
    run = commands.add_parser("run", help="parse slides: probability maps, label maps, polygons")
    run.add_argument("slides", nargs="+", help="slide files, folders of slides, or a CSV manifest")
    run.add_argument("-o", "--output", required=True, help="folder or address of the results; continued if begun")
    run.add_argument("--overwrite", action="store_true", help="remove this folder's earlier run and start anew")
    run.add_argument("--retry-failed", action="store_true", help="try slides again that failed earlier")
    run.add_argument("--shard", type=_parse_shard, metavar="I/N", help="take slides I, I+N, I+2N … alone; I from 0")
    add_settings(run)
    run.set_defaults(command=_run)


def _parse_shard(text: str) -> tuple[int, int]:
    first, _, step = text.partition("/")
    if not (first.isdigit() and step.isdigit() and int(first) < int(step)):
        raise argparse.ArgumentTypeError(f"{text!r}, expected I/N with I from 0 to below N, such as 0/8")
    return int(first), int(step)


def _run(options: argparse.Namespace) -> int:
    from wsiparse.runs.address import find_local
    from wsiparse.runs.handover import open_output
    from wsiparse.runs.manifest import list_slides
    from wsiparse.runs.parse import parse_run
    from wsiparse.runs.progress import Tried, watch
    from wsiparse.runs.run import Start
    from wsiparse.views.tables import show_run

    start = Start(options.overwrite, options.retry_failed, options.shard)
    config, rows = read_settings(options), list_slides(options.slides)
    with (
        stop_on_signal(),
        watch(len(start.share(rows))) as watching,
        open_output(options.output, start, rows, watching) as (folder, listen),
    ):
        tried = Tried(listen)
        run = parse_run(rows, folder, config, tried.listen, start)
    with print_last(f"`wsiparse status {options.output}` tells how the run ended") as page:
        failed = show_run(page, run, start.share(run.recognize(rows), run.rows), tried.slides)
        if not find_local(options.output):
            page.print(f"handed over: {options.output}")
    if failed and len(rows) == 1:
        return WRONG_INPUT
    return SOME_FAILED if failed else OK


@contextmanager
def stop_on_signal() -> Iterator[None]:
    """Let SIGTERM, the batch system's word for stop, do what Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

"""`wsiparse submit`: the same run as a batch job."""

from __future__ import annotations

import argparse
from typing import Any

from wsiparse.commands.ending import OK, console
from wsiparse.commands.settings import add_settings, list_given, read_settings
from wsiparse.errors import InputError


def add_commands(commands: Any) -> None:
    """Add `submit`."""
    submit = commands.add_parser("submit", help="write the same run as a batch job that can be read, and hand it in")
    submit.add_argument("slides", nargs="+", help="slide files, folders of slides, or a CSV manifest")
    submit.add_argument("-o", "--output", required=True, help="folder of the results, seen by every node")
    submit.add_argument("--dry-run", action="store_true", help="write OUT/submit/run.sh and hand nothing in")
    add_settings(submit)
    submit.set_defaults(command=_submit, cluster="slurm")


def _submit(options: argparse.Namespace) -> int:
    from wsiparse.runs.address import find_local
    from wsiparse.runs.manifest import list_slides
    from wsiparse.runs.submit import Submission, load_slurm, submit_run

    if options.cluster != "slurm":
        raise InputError(f"--cluster {options.cluster}: expected slurm; for others see workflows/")
    if (output := find_local(options.output)) is None:
        raise InputError(f"{options.output}: a batch job keeps its scripts in a folder; expected one, no address")
    options.cluster = None
    list_slides(options.slides)
    read_settings(options)
    given = list_given(options)
    submission = Submission(tuple(options.slides), output, options.config, given)
    job = submit_run(submission, load_slurm(options.config), options.dry_run)
    script = output / "submit/run.sh"
    console.print(f"written: {script}" if options.dry_run else f"job {job}: {script}; log beside it")
    return OK

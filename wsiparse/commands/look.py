"""`wsiparse targets`, `plan`, `info`, `status`: what can be asked for, what it takes, and how far a run stands."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from wsiparse.commands.ending import OK, SOME_FAILED, WRONG_INPUT, console
from wsiparse.commands.settings import add_settings, read_settings


def add_commands(commands: Any) -> None:
    """Add `targets`, `plan`, `info` and `status`."""
    _add_targets(commands)
    _add_plan(commands)
    _add_info(commands)
    _add_status(commands)


def _add_targets(commands: Any) -> None:
    targets = commands.add_parser("targets", help="what can be asked for: names, synonyms, scale, field of view, sites")
    targets.add_argument(
        "ontology", nargs="?", help="pathology, open-1 or a TOML file; else what the shipped model knows"
    )
    targets.set_defaults(command=_targets)


def _targets(options: argparse.Namespace) -> int:
    from wsiparse.models.load import ModelSpec, load_model
    from wsiparse.ontology import load_ontology
    from wsiparse.views.targets import show_targets

    known = load_ontology(options.ontology) if options.ontology else load_model(ModelSpec(device="cpu"))
    show_targets(console, known.targets)
    return OK


def _add_plan(commands: Any) -> None:
    plan = commands.add_parser("plan", help="tiles, blocks, memory and disk, before anything runs")
    plan.add_argument("slides", nargs="+", help="slide files, folders of slides, or a CSV manifest")
    plan.add_argument("-o", "--output", type=Path, default=Path(), help="where the results would go")
    add_settings(plan)
    plan.set_defaults(command=_plan)


def _plan(options: argparse.Namespace) -> int:
    from wsiparse.models.lanes import limit_threads
    from wsiparse.models.load import find_shortcut
    from wsiparse.runs.manifest import list_slides
    from wsiparse.runs.parse import resolve_targets, take_order
    from wsiparse.runs.pipeline import SerialEngine
    from wsiparse.runs.workers import count_processes, count_threads
    from wsiparse.views.plans import show_plans

    config = read_settings(options)
    processes = count_processes(config)
    # A tile's memory grows with the threads, which several workers share out.
    with limit_threads(count_threads(processes)) if processes > 1 else nullcontext():
        order, facts = take_order(SerialEngine(), config, options.output)
    for line in filter(None, [*map(str, order.guesses), facts.drawback, find_shortcut(order.model)]):
        console.print(line, markup=False, highlight=False)
    rows = [resolve_targets(row, order) for row in list_slides(options.slides)]
    if not show_plans(console, order, rows):
        return OK
    return SOME_FAILED if len(rows) > 1 else WRONG_INPUT


def _add_info(commands: Any) -> None:
    info = commands.add_parser("info", help="what a slide is: levels, mpp and its source, codec, tissue, read speed")
    info.add_argument("slide")
    info.add_argument("--mpp", type=float, help="µm per pixel, in place of what the slide states")
    info.set_defaults(command=_info)


def _info(options: argparse.Namespace) -> int:
    from wsiparse.views.tables import show_slide

    show_slide(console, options.slide, options.mpp)
    return OK


def _add_status(commands: Any) -> None:
    status = commands.add_parser("status", help="which slides of a run are done, left or failed, and why")
    status.add_argument("output", help="folder or address of a run")
    shown = status.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="for programs")
    shown.add_argument("--watch", action="store_true", help="until nothing is left to do")
    status.set_defaults(command=_status)


def _status(options: argparse.Namespace) -> int:
    from wsiparse.runs.marks import look_at
    from wsiparse.views.status import show_status, watch_status

    with look_at(options.output) as look:
        failed = watch_status(console, look) if options.watch else show_status(console, look(), options.json)
    return SOME_FAILED if failed else OK

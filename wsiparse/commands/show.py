"""`wsiparse report`, `picture`, `export`: results for people and for other tools."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wsiparse.commands.ending import OK, SOME_FAILED, console
from wsiparse.commands.settings import split_names
from wsiparse.errors import WsiparseError
from wsiparse.geometry import Region


def add_commands(commands: Any) -> None:
    """Add `report`, `picture` and `export`."""
    _add_report(commands)
    _add_picture(commands)
    _add_export(commands)


def _add_report(commands: Any) -> None:
    report = commands.add_parser("report", help="the run at a glance: one HTML file with tables, charts and pictures")
    report.add_argument("output", type=Path, help="folder of a run")
    report.add_argument("--pictures", type=int, default=50, help="slides shown as pictures; those of lowest Dice first")
    report.set_defaults(command=_report)


def _report(options: argparse.Namespace) -> int:
    from wsiparse.runs.run import open_run
    from wsiparse.views.report import write_report

    console.print(f"report: {write_report(open_run(options.output), options.pictures)}")
    return OK


def _add_picture(commands: Any) -> None:
    picture = commands.add_parser("picture", help="draw a slide with its outlines into a PNG")
    picture.add_argument("output", type=Path, help="folder of a run")
    picture.add_argument("png", type=Path)
    picture.add_argument("--slide", help="id of the slide; the first that is done unless given")
    picture.add_argument("--region", type=_region, help="x,y,width,height in level-0 pixels; else the whole slide")
    picture.add_argument(
        "--targets", type=split_names, default=(), help="names of targets to draw, separated by commas"
    )
    picture.add_argument("--side", type=int, default=1200, help="longer side of the slide in the picture, in pixels")
    picture.set_defaults(command=_picture)


def _region(text: str) -> Region:
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r}: expected x,y,width,height in whole pixels")
    return Region(*(int(part) for part in parts))


def _picture(options: argparse.Namespace) -> int:
    from wsiparse.runs.run import State, open_run
    from wsiparse.views.picture import Frame, draw_picture

    run = open_run(options.output)
    rows = run.rows
    done = (row.id for row in rows if run.state(row.id) is State.DONE)
    slide = options.slide or next(done, rows[0].id)
    draw_picture(run, slide, options.png, Frame(options.region, options.side, options.targets))
    first = f"; it shows {slide}, the first done of {len(rows)} slides" if len(rows) > 1 and not options.slide else ""
    console.print(f"picture: {options.png}{first}")
    return OK


def _add_export(commands: Any) -> None:
    export = commands.add_parser("export", help="the results as other tools read them")
    export.add_argument("output", type=Path, help="folder of a run")
    export.add_argument(
        "--format",
        required=True,
        help="geojson, qupath, ome-zarr-0.4, ome-tiff, coco, asap, csv, annotation-store (TIAToolbox) or spatialdata",
    )
    export.add_argument("--slide", help="id of one slide; else all that are done")
    export.add_argument("--to", type=Path, help="folder to write to; else OUTPUT/export/FORMAT")
    export.add_argument(
        "--level", type=int, default=0, help="level of the maps to begin at; 0, the finest, unless given"
    )
    export.set_defaults(command=_export)


def _export(options: argparse.Namespace) -> int:
    from wsiparse.runs.export import Request, count_unfinished, export_run
    from wsiparse.runs.run import open_run

    run, request = open_run(options.output), Request(options.format, options.slide, options.to, options.level)
    left_out = None if options.slide else count_unfinished(run)
    refused: dict[str, WsiparseError] = {}
    for path in export_run(run, request, refused.__setitem__):
        console.print(f"written: {path}")
    if refused and (options.slide or len(run.rows) == 1):
        raise next(iter(refused.values()))
    for slide, error in refused.items():
        console.print(f"not exported: {slide}: {error}")
    if left_out:
        counts = ", ".join(f"{count} {state}" for state, count in left_out.items())
        console.print(f"left out: {counts}, as `wsiparse status` tells")
    return SOME_FAILED if refused else OK

"""The command line: words in, a function called, one line out where something is wrong.

Exit codes: 0 all slides done · 2 the command or its input is wrong · 3 some slides failed · 75 the scheduler
was lost and 130 stopped, where the same command continues · 1 a bug.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from wsiparse import __version__
from wsiparse.errors import InputError, WsiparseError
from wsiparse.geometry import Region
from wsiparse.runs.config import RunConfig, load_config

OK, WRONG_INPUT, SOME_FAILED, LOST = 0, 2, 3, 75
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)  # for logs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
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
    _add_run(commands)
    _add_submit(commands)
    _add_plan(commands)
    _add_info(commands)
    _add_status(commands)
    _add_evaluate(commands)
    _add_compare(commands)
    _add_report(commands)
    _add_export(commands)
    _add_picture(commands)
    _add_train(commands)
    _add_models(commands)
    return parser


def _add_run(commands: Any) -> None:
    run = commands.add_parser("run", help="parse slides: probability maps, label maps, polygons")
    run.add_argument("slides", nargs="+", help="slide files, folders of slides, or a CSV manifest")
    run.add_argument("-o", "--output", required=True, type=Path, help="folder of the results; continued if begun")
    run.add_argument("--overwrite", action="store_true", help="remove this folder's earlier run and start anew")
    run.add_argument("--retry-failed", action="store_true", help="try slides again that failed earlier")
    run.add_argument("--shard", type=_parse_shard, metavar="I/N", help="take slides I, I+N, I+2N … alone; I from 0")
    _add_settings(run)
    run.set_defaults(command=_run)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Options that stand above the same settings of a config file; None leaves the file's."""
    parser.add_argument("--config", type=Path, help="TOML file of settings; options here stand above it")
    parser.add_argument("--targets", type=_split, help="names of targets, separated by commas")
    parser.add_argument("--prompt", dest="prompts", action="append", help="text prompt; may be given several times")
    parser.add_argument("--model", help="shipped name, weights file, or package.module:factory")
    parser.add_argument("--weights", help="weights file of a model that ships without: biomedparse")
    parser.add_argument("--ontology", help="TOML file of targets")
    parser.add_argument("--mpp", type=float, help="µm per pixel, for slides that state none")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--cluster", help="serial, local, or a Dask scheduler: its address or its scheduler file")
    parser.add_argument("--workers", type=int, help="worker processes of a local cluster")
    parser.add_argument("--window", type=int, help="blocks in flight for each worker")
    parser.add_argument("--overlap", type=int, help="shared width of neighbouring tiles, in pixels")
    parser.add_argument("--block-tiles", type=int, help="tiles on each side of a block")
    parser.add_argument("--memory-gb", type=float, help="memory that may be used")
    parser.add_argument("--no-tissue", dest="tissue", action="store_false", default=None, help="parse blank areas too")


def _parse_shard(text: str) -> tuple[int, int]:
    first, _, step = text.partition("/")
    if not (first.isdigit() and step.isdigit() and int(first) < int(step)):
        raise argparse.ArgumentTypeError(f"{text!r}, expected I/N with I from 0 to below N, such as 0/8")
    return int(first), int(step)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _settings(options: argparse.Namespace) -> RunConfig:
    return load_config(options.config, _given(options))


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that stand on the command line."""
    given = {name: getattr(options, name, None) for name in RunConfig.model_fields}
    return {name: value for name, value in given.items() if value is not None}


def _run(options: argparse.Namespace) -> int:
    from wsiparse.runs.manifest import list_slides
    from wsiparse.runs.parse import parse_run
    from wsiparse.runs.progress import watch
    from wsiparse.runs.run import Start
    from wsiparse.views.tables import show_run

    start = Start(options.overwrite, options.retry_failed, options.shard)
    config, rows = _settings(options), list_slides(options.slides)
    with stop_on_signal(), watch(len(start.share(rows))) as listen:
        run = parse_run(rows, options.output, config, listen, start)
    mine = start.share(rows)
    failed = show_run(console, run, mine)
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


def _add_submit(commands: Any) -> None:
    submit = commands.add_parser("submit", help="write the same run as a batch job that can be read, and hand it in")
    submit.add_argument("slides", nargs="+", help="slide files, folders of slides, or a CSV manifest")
    submit.add_argument("-o", "--output", required=True, type=Path, help="folder of the results, seen by every node")
    submit.add_argument("--dry-run", action="store_true", help="write OUT/submit/run.sh and hand nothing in")
    _add_settings(submit)
    submit.set_defaults(command=_submit, cluster="slurm")


def _submit(options: argparse.Namespace) -> int:
    from wsiparse.runs.manifest import list_slides
    from wsiparse.runs.submit import Submission, load_slurm, submit_run

    if options.cluster != "slurm":
        raise InputError(f"--cluster {options.cluster}: expected slurm; for others see workflows/")
    options.cluster = None
    list_slides(options.slides)
    _settings(options)
    given = _given(options)
    submission = Submission(tuple(options.slides), options.output, options.config, given)
    job = submit_run(submission, load_slurm(options.config), options.dry_run)
    script = options.output / "submit/run.sh"
    console.print(f"written: {script}" if options.dry_run else f"job {job}: {script}; log beside it")
    return OK


def _add_plan(commands: Any) -> None:
    plan = commands.add_parser("plan", help="tiles, blocks, memory and disk, before anything runs")
    plan.add_argument("slides", nargs="+", help="slide files, folders of slides, or a CSV manifest")
    plan.add_argument("-o", "--output", type=Path, default=Path(), help="where the results would go")
    _add_settings(plan)
    plan.set_defaults(command=_plan)


def _plan(options: argparse.Namespace) -> int:
    from wsiparse.runs.manifest import list_slides
    from wsiparse.runs.parse import take_order
    from wsiparse.runs.pipeline import SerialEngine
    from wsiparse.views.tables import show_plans

    order, _ = take_order(SerialEngine(), _settings(options), options.output)
    show_plans(console, order, list_slides(options.slides))
    return OK


def _add_info(commands: Any) -> None:
    info = commands.add_parser("info", help="what a slide is: levels, mpp and its source, codec, tissue, read speed")
    info.add_argument("slide")
    info.add_argument("--mpp", type=float, help="µm per pixel, where the slide states none")
    info.set_defaults(command=_info)


def _info(options: argparse.Namespace) -> int:
    from wsiparse.views.tables import show_slide

    show_slide(console, options.slide, options.mpp)
    return OK


def _add_status(commands: Any) -> None:
    status = commands.add_parser("status", help="which slides of a run are done, left or failed, and why")
    status.add_argument("output", type=Path)
    shown = status.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="for programs")
    shown.add_argument("--watch", action="store_true", help="until nothing is left to do")
    status.set_defaults(command=_status)


def _status(options: argparse.Namespace) -> int:
    from wsiparse.runs.run import open_run
    from wsiparse.views.status import show_status, watch_status

    run = open_run(options.output)
    failed = watch_status(console, run) if options.watch else show_status(console, run, options.json)
    return SOME_FAILED if failed else OK


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser("evaluate", help="Dice and IoU against references")
    evaluate.add_argument("output", type=Path, help="folder of a run")
    evaluate.add_argument("--reference", type=Path, help="folder or manifest of references; else the run's manifest")
    evaluate.add_argument("--mapping", type=Path, help="TOML or JSON file: a laboratory's class names to targets")
    evaluate.add_argument("--hd95", action="store_true", help="distances between the borders of regions too; slower")
    evaluate.set_defaults(command=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    from wsiparse.evaluation.table import make_tables
    from wsiparse.runs.evaluate import evaluate_run
    from wsiparse.runs.run import open_run

    evaluation = evaluate_run(open_run(options.output), options.reference, options.mapping, options.hd95)
    for table in make_tables(evaluation):
        console.print(table, "")
    console.print(f"by slide: {options.output / 'evaluation.csv'}")
    return OK


def _add_export(commands: Any) -> None:
    export = commands.add_parser("export", help="the results as other tools read them")
    export.add_argument("output", type=Path, help="folder of a run")
    export.add_argument(
        "--format",
        required=True,
        help="geojson, qupath, ome-zarr-0.4, ome-tiff, coco, asap, csv or annotation-store (TIAToolbox)",
    )
    export.add_argument("--slide", help="id of one slide; else all that are done")
    export.add_argument("--to", type=Path, help="folder to write to; else OUTPUT/export/FORMAT")
    export.add_argument(
        "--level", type=int, default=0, help="level of the maps to begin at; 0, the finest, unless given"
    )
    export.set_defaults(command=_export)


def _export(options: argparse.Namespace) -> int:
    from wsiparse.runs.export import Request, export_run
    from wsiparse.runs.run import open_run

    request = Request(options.format, options.slide, options.to, options.level)
    for path in export_run(open_run(options.output), request):
        console.print(f"written: {path}")
    return OK


def _add_compare(commands: Any) -> None:
    compare = commands.add_parser("compare", help="two evaluated runs over the same slides: which is better, how sure")
    compare.add_argument("first", type=Path, metavar="A", help="folder of a run")
    compare.add_argument("second", type=Path, metavar="B", help="folder of another")
    compare.add_argument("--metric", default="dice", help="dice (default), iou, pq, hd95_um or another column")
    compare.add_argument("-o", "--output", type=Path, help="JSON file with the same numbers and more")
    compare.set_defaults(command=_compare)


def _compare(options: argparse.Namespace) -> int:
    from wsiparse.runs.compare import compare_folders, write_comparison
    from wsiparse.runs.run import open_run
    from wsiparse.views.comparison import tabulate_comparison

    runs = (open_run(options.first), open_run(options.second))
    compared = compare_folders(*runs, options.metric)
    console.print(tabulate_comparison(compared))
    if left_out := max(part.left_out for part in compared):
        console.print(f"{left_out} slides left out: evaluated in one run alone, or without a {options.metric}")
    if options.output:
        write_comparison(options.output, runs, options.metric, compared)
        console.print(f"comparison: {options.output}")
    return OK


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
    picture.add_argument("--slide", help="id of the slide, where the run has several")
    picture.add_argument("--region", type=_region, help="x,y,width,height in level-0 pixels; else the whole slide")
    picture.add_argument("--targets", type=_split, default=(), help="names of targets to draw, separated by commas")
    picture.add_argument("--side", type=int, default=1200, help="longer side of the slide in the picture, in pixels")
    picture.set_defaults(command=_picture)


def _region(text: str) -> Region:
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r}: expected x,y,width,height in whole pixels")
    return Region(*(int(part) for part in parts))


def _picture(options: argparse.Namespace) -> int:
    from wsiparse.runs.run import open_run
    from wsiparse.views.picture import Frame, draw_picture

    run = open_run(options.output)
    draw_picture(
        run, options.slide or run.rows[0].id, options.png, Frame(options.region, options.side, options.targets)
    )
    console.print(f"picture: {options.png}")
    return OK


def _add_train(commands: Any) -> None:
    train = commands.add_parser("train", help="train or fine-tune a model on images and masks")
    train.add_argument("config", type=Path)
    train.set_defaults(command=_train)


def _train(options: argparse.Namespace) -> int:
    from wsiparse.training.loop import train

    train(options.config)
    return OK


def _add_models(commands: Any) -> None:
    models = commands.add_parser("models", help="the models that are installed, with targets, licence and digest")
    models.set_defaults(command=_models)


def _models(options: argparse.Namespace) -> int:
    from wsiparse.views.tables import show_models

    show_models(console)
    return OK


if __name__ == "__main__":
    sys.exit(main())

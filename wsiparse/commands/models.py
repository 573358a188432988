"""`wsiparse models` and `train`: what finds the targets, and making it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wsiparse.commands.ending import OK, SOME_FAILED, console, print_last
from wsiparse.commands.run import stop_on_signal


def add_commands(commands: Any) -> None:
    """Add `models` and `train`."""
    _add_models(commands)
    _add_train(commands)


def _add_train(commands: Any) -> None:
    train = commands.add_parser("train", help="train or fine-tune a model on images and masks")
    train.add_argument("config", type=Path, help="TOML file; docs/train.md says what stands in it")
    train.set_defaults(command=_train)


def _train(options: argparse.Namespace) -> int:
    from wsiparse.training.loop import train

    with stop_on_signal():
        weights = train(options.config)
    with print_last(f"written: {weights}") as page:
        page.print(f"written: {weights}")
    return OK


def _add_models(commands: Any) -> None:
    models = commands.add_parser("models", help="the models that are installed, with targets, licence and digest")
    models.set_defaults(command=_models)
    parts = models.add_subparsers(metavar="COMMAND", title="commands; none lists the models")
    _add_convert(parts)
    _add_calibrate(parts)


def _add_convert(parts: Any) -> None:
    convert = parts.add_parser("convert", help="weights of BiomedParse as safetensors, checked tensor by tensor")
    convert.add_argument("source", type=Path, metavar="IN", help="biomedparse_v1.pt as published, or .safetensors")
    convert.add_argument("target", type=Path, metavar="OUT", help="the .safetensors file to write")
    convert.set_defaults(command=_convert)


def _convert(options: argparse.Namespace) -> int:
    from wsiparse.models.checkpoint import convert_weights

    made = convert_weights(options.source, options.target)
    for name, count in made.left.items():
        console.print(f"left out, as no text prompt reaches it: {name}{'*' if count > 1 else ''} ({count})")
    console.print(f"written: {options.target}, {made.kept} tensors, SHA-256 {made.digest}")
    return OK


def _add_calibrate(parts: Any) -> None:
    calibrate = parts.add_parser("calibrate", help="fits for the test of validity, from a run and its references")
    calibrate.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    calibrate.add_argument("-o", "--output", required=True, type=Path, help="JSON file to write, for --validity")
    calibrate.add_argument("--reference", type=Path, help="folder or manifest of references; else the run's manifest")
    calibrate.add_argument("--mapping", type=Path, help="TOML or JSON file: a laboratory's class names to targets")
    calibrate.set_defaults(command=_calibrate)


def _calibrate(options: argparse.Namespace) -> int:
    from wsiparse.runs.calibrate import calibrate_run
    from wsiparse.runs.references import ReferenceSource
    from wsiparse.runs.run import open_run

    source = ReferenceSource(options.reference, options.mapping)
    made = calibrate_run(open_run(options.run), options.output, source)
    for name, count in made.samples.items():
        console.print(f"{name}: fitted to {count} tiles")
    for message in made.refused.values():
        console.print(f"left out: {message}")
    for slide, message in made.left_out.items():
        console.print(f"left out: {slide}: {message}")
    for message in made.unused:
        console.print(f"not used: {message}")
    console.print(f"written: {options.output}")
    return SOME_FAILED if made.left_out or made.unused else OK


def _models(options: argparse.Namespace) -> int:
    from wsiparse.views.tables import show_models

    show_models(console)
    return OK

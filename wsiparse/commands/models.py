"""`wsiparse models` and `train`: what finds the targets, and making it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wsiparse.commands.ending import OK, console


def add_commands(commands: Any) -> None:
    """Add `models` and `train`."""
    _add_models(commands)
    _add_train(commands)


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

"""Options that stand above the settings of a config file, shared by the commands that take them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wsiparse.runs.config import RunConfig, load_config


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Options that stand above the same settings of a config file; None leaves the file's."""
    parser.add_argument("--config", type=Path, help="TOML file of settings; options here stand above it")
    parser.add_argument("--targets", type=split_names, help="names of targets, separated by commas")
    parser.add_argument("--prompt", dest="prompts", action="append", help="text prompt; may be given several times")
    parser.add_argument("--model", help="shipped name, weights file, or package.module:factory")
    parser.add_argument("--weights", help="weights file of a model that ships without: biomedparse")
    parser.add_argument("--ontology", help="TOML file of targets, or a shipped name: pathology, open-1")
    parser.add_argument("--site", help="tissue that the prompts name, such as breast; see `wsiparse targets`")
    parser.add_argument("--least-similarity", type=float, help="score from which free text is taken for a target")
    parser.add_argument("--mpp", type=float, help="µm per pixel, for slides that state none")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--cluster", help="serial, local, slurm, pbs, lsf, or a Dask scheduler's address or file")
    parser.add_argument("--workers", type=int, help="local processes, or jobs; one for each accelerator, at least 1")
    parser.add_argument("--window", type=int, help="blocks in flight for each worker; 4")
    parser.add_argument("--overlap", type=int, help="pixels that tiles share; a quarter of the tile, at most 128")
    parser.add_argument("--simplify", type=float, help="tolerance of outlines, in pixels of their map; 0.5")
    parser.add_argument("--block-tiles", type=int, help="tiles on each side of a block; 4")
    parser.add_argument("--task-deadline-s", type=float, help="seconds that a step may hang, 0: for ever; 1800")
    parser.add_argument("--memory-gb", type=float, help="memory that may be used")
    parser.add_argument("--no-tissue", dest="tissue", action="store_false", default=None, help="parse blank areas too")
    _add_model_options(parser.add_argument_group("how the model answers"))
    _add_judgement(parser.add_argument_group("what is taken to be there"))


def _add_model_options(group: Any) -> None:
    group.add_argument("--precision", help="float32 or bfloat16")
    group.add_argument("--input-side", type=int, help="pixels of the image that BiomedParse sees; 1024 unless given")
    group.add_argument("--skip-absent", type=float, help="probability of no object above which BiomedParse draws none")
    group.add_argument("--views", type=int, help="8 averages over turned and mirrored views: 8 times the cost; 1")
    group.add_argument("--batch", type=int, help="tiles a forward pass on an accelerator; 8")
    group.add_argument("--channels-last", action="store_true", default=None, help="layout for tensor cores")
    group.add_argument("--compile", help="default, reduce-overhead (CUDA graphs) or max-autotune of torch.compile")


def _add_judgement(group: Any) -> None:
    group.add_argument("--recognition", help="threshold, or as BiomedParse selects targets: paper or code")
    group.add_argument("--win-share", type=float, help="share of its pixels a target must win, for paper and code; 0.5")
    group.add_argument("--validity", help="fits to test findings by: a JSON file, a shipped name, or off")
    group.add_argument("--refuse-below", type=float, help="p-value of the median tile that marks a target; 0.01")
    group.add_argument("--drop-refused", action="store_true", default=None, help="leave such targets out")


def split_names(text: str) -> tuple[str, ...]:
    """The names in a list with commas, for argparse; of an unset variable of a shell there are none."""
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise argparse.ArgumentTypeError(f"{text!r} names no target; expected names separated by commas")
    return names


def read_settings(options: argparse.Namespace) -> RunConfig:
    """The run's settings, from the config file and above it the command line."""
    return load_config(options.config, list_given(options))


def list_given(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that stand on the command line."""
    given = {name: getattr(options, name, None) for name in RunConfig.model_fields}
    return {name: value for name, value in given.items() if value is not None}

"""What a person may set for a run: one TOML file and the command line, validated once, frozen."""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from wsiparse.errors import InputError
from wsiparse.files import read_text
from wsiparse.kinds import is_text
from wsiparse.slides.mpp import PLAUSIBLE_MPP

NAME_FILES = ("model", "weights", "ontology", "validity")
"""Settings that may name a file."""
ANSWERING = {"precision", "input_side", "skip_absent", "views"}
"""Settings that change what a model answers."""


class RunConfig(BaseModel):
    """Settings of one run. What changes a result's bytes is told apart from what only changes its speed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str = "wsiparse-open-1"
    """A shipped model's name, a weights file, or `package.module:factory` for a model of one's own."""
    weights: str | None = None
    """Weights file, for a model that ships without (`biomedparse`); what it holds says which architecture it is."""
    targets: tuple[str, ...] = ()
    """Names of targets to parse; empty parses everything the model knows."""
    prompts: tuple[str, ...] = ()
    """Text prompts, each taken for a target: by name, synonym or prompt, else by what the model thinks nearest."""
    least_similarity: float | None = Field(default=None, gt=0, le=1)
    """Score from which a free text is taken for the nearest target; None takes the model's."""
    site: str | None = None
    """Tissue that prompts name where they have a place for it, such as `breast`; targets that do not occur there are
    left out. A manifest's column `site` stands above it."""
    ontology: str | None = None
    """TOML file of targets, or the name of one that ships; the model's own list where none is given."""
    overlap: int | None = Field(default=None, ge=0, multiple_of=2)
    """Shared width of neighbouring tiles, in pixels; half of it is the margin that is not trusted. None takes a quarter
    of the model's tile, at most 128."""
    tissue: bool = True
    """Leave out what shows no tissue; False parses the whole slide."""
    simplify: float = Field(default=0.5, ge=0)
    """Tolerance of outlines, in canvas pixels; 0 keeps every pixel edge."""
    mpp: float | None = Field(default=None, ge=PLAUSIBLE_MPP[0], le=PLAUSIBLE_MPP[1])
    """µm per pixel of slides for which neither the manifest nor the file states a usable one."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """What matrices are multiplied in."""
    input_side: int | None = Field(default=None, ge=32, multiple_of=32)
    """Pixels on each side of the image that BiomedParse sees; None takes the 1024 it was trained with."""
    skip_absent: float | None = Field(default=None, gt=0, lt=1)
    """Where BiomedParse gives "no object" more than this probability, a tile's map is 0; None draws all."""
    views: Literal[1, 8] = 1
    """8 averages each tile's maps over all its turned and mirrored views, at eight times the cost."""

    recognition: Literal["threshold", "paper", "code"] = "threshold"
    """`threshold` takes each target by its own threshold. `paper` and `code` first select, among the targets of a
    group, those that are on the slide at all, as BiomedParse's paper or its published code does; then p > 0.5 counts.
    """
    win_share: float = Field(default=0.5, ge=0, le=1)
    """λ of that selection: the share of its pixels that a target must win against the others of its group."""
    validity: str | None = None
    """Beta fits by which findings are tested: a JSON file, or the name of some that ship (`wsiparse-open-1`). None
    tests BiomedParse by the published ones and no other model; `off` tests nothing."""
    refuse_below: float = Field(default=0.01, ge=0, le=1)
    """A target is marked as refused where the p-value of its median tile is below this."""
    drop_refused: bool = False
    """Leave refused targets out of label maps and outlines; else they are only marked."""

    block_tiles: int = Field(default=4, ge=1)
    """Cores on each side of a block."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    batch: int = Field(default=8, ge=1)
    """Tiles a forward pass on an accelerator."""
    channels_last: bool = False
    """Keep the weights of BiomedParse's convolutions in the layout that tensor cores read."""
    compile: Literal["", "default", "reduce-overhead", "max-autotune"] = ""
    """Mode of `torch.compile`; `reduce-overhead` records CUDA graphs; empty runs eagerly."""
    cluster: str = "local"
    """`serial`, `local`, `slurm`, `pbs`, `lsf`, or a Dask scheduler by its address or its scheduler file."""
    workers: int | None = Field(default=None, ge=1)
    """Worker processes of a local cluster; None takes one for each accelerator, or threads where there is none."""
    window: int = Field(default=4, ge=1)
    """Blocks in flight for each worker."""
    task_deadline_s: float = Field(default=1800, ge=0)
    """Seconds after which a step of a block that also takes 20 times the mean of its kind is taken to hang, and its
    worker started anew; 0 waits for ever."""
    memory_gb: float | None = Field(default=None, gt=0)
    """Memory that may be used; None takes what the machine, its cgroup or the batch system leaves."""

    @field_validator(*NAME_FILES, mode="before")
    @classmethod
    def _name_file(cls, value: Any) -> Any:
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    @property
    def result_settings(self) -> dict[str, Any]:
        """The settings that decide what comes out; a run is only continued under the same."""
        judgement = {"recognition", "win_share", "refuse_below", "drop_refused"}
        return self.model_dump(include={"overlap", "tissue", "simplify", "site"} | ANSWERING | judgement)

    @property
    def model_options(self) -> dict[str, Any]:
        """How the model is to answer, as the fields of `ModelOptions`."""
        return self.model_dump(include=ANSWERING | {"channels_last", "compile"})


def load_config(path: str | Path | None, overrides: dict[str, Any]) -> RunConfig:
    """The settings of a TOML file, with others above them, as of a command; a wrong one is named in one line.

    A file that the TOML file names may lie beside it, else it is seen from the working folder, as those of a command.
    """
    settings = {**(_read_settings(Path(path)) if path else {}), **overrides}
    try:
        return RunConfig(**settings)
    except ValidationError as error:
        source = "" if error.errors()[0]["loc"][0] in overrides else f"{path}: "
        raise InputError(f"{source}{say_wrong(error, RunConfig)}") from error


def _read_settings(path: Path) -> dict[str, Any]:
    settings = read_toml(path)
    settings.pop("slurm", None)  # how the run is handed in is no setting of the run
    beside = {name: path.parent / settings[name] for name in NAME_FILES if is_text(settings.get(name))}
    return settings | {name: str(file) for name, file in beside.items() if file.is_file()}


def say_wrong(error: ValidationError, model: type[BaseModel], table: str = "") -> str:
    """The first setting that pydantic refused, what it is, and what it should have been in the words of TOML."""
    first = error.errors()[0]
    where, wanted = ".".join([*filter(None, [table]), *map(str, first["loc"])]), str(first["msg"])
    if first["type"] == "tuple_type":
        wanted = 'expected a list, such as ["…"]'
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(first["loc"][-1]), model.model_fields, n=1, cutoff=0.0)
        wanted = f"no such setting; the nearest is {near[0]!r}"
    return f"setting {where!r} is {first.get('input')!r}: {wanted}"


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a config file; InputError where it is none."""
    try:
        return tomllib.loads(read_text(path))
    except OSError as error:
        raise InputError(f"config {path}: {error.strerror}; expected a TOML file") from error
    except ValueError as error:
        raise InputError(f"config {path}: {error}; expected a TOML file") from error

"""Which model, where it runs, and loading it once a process."""

from __future__ import annotations

import functools
import importlib
import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from wsiparse.errors import ModelError
from wsiparse.models.biomedparse import BiomedParse, open_biomedparse
from wsiparse.models.devices import multiplies_bfloat16
from wsiparse.models.execution import PLAIN, Execution, ModelOptions
from wsiparse.models.model import Model
from wsiparse.models.open_model import OpenModel, open_weights
from wsiparse.models.weight_file import is_open_weights

WEIGHTS = Path(__file__).parent / "weights"
DEFAULT_MODEL = "wsiparse-open-1"
BIOMEDPARSE = "biomedparse"
_loading = threading.RLock()  # a factory may itself load a model


@dataclass(frozen=True)
class ModelSpec:
    """What to load and where to run it; hashable and picklable, so that a worker can load it for itself."""

    name_or_path: str = DEFAULT_MODEL
    """A shipped name, `biomedparse` with its weights, a weights file by itself, or `package.module:factory`, which is
    called with this spec.
    """
    device: str = "auto"
    """`auto` takes CUDA where there is one; else a torch device such as `cpu` or `cuda:1`."""
    batch: int = 8
    """Tiles a forward pass on a GPU."""
    digest: str = ""
    """SHA-256 the loaded model must have; empty accepts any."""
    weights: str = ""
    """Weights file, for a model that ships without."""
    options: ModelOptions = PLAIN


def list_models() -> dict[str, Path]:
    """Names and weight files of the models that came with the package."""
    return {path.stem: path for path in sorted(WEIGHTS.glob("*.safetensors"))}


def load_model(spec: ModelSpec) -> Model:
    """The model of a spec, loaded once a process however many threads ask.

    Raises ModelError where the name, the file, the factory or the digest does not fit.
    """
    with _loading:
        model = _open_model(replace(spec, digest=""))  # one copy, whether its digest was known when it was asked for
    if spec.digest and model.digest != spec.digest:
        raise ModelError(f"model {spec.name_or_path}: digest {model.digest}, expected {spec.digest}; fetch it again")
    return model


def find_drawback(spec: ModelSpec) -> str:
    """What is unwise about running a model here as a spec asks, in one line; empty where nothing is."""
    if spec.options.precision != "bfloat16" or multiplies_bfloat16(choose_device(spec.device)):
        return ""
    return "precision bfloat16: this processor does not multiply in it and takes longer than in float32; leave it out"


def find_shortcut(spec: ModelSpec) -> str:
    """What would make one of our models faster here than as a spec asks, in one line; empty where nothing would."""
    able = spec.options.precision == "float32" and multiplies_bfloat16(choose_device(spec.device))
    if not able or not isinstance(load_model(spec), OpenModel | BiomedParse):
        return ""
    return (
        "precision float32: bfloat16 is faster, for this machine multiplies in it; ask for it with --precision bfloat16"
    )


def find_licence(model: Model) -> str:
    """The licence that a model's weights name in their header; empty where they name none."""
    return str(model.header.training.get("licence", "")) if isinstance(model, OpenModel) else ""


@functools.cache
def _open_model(spec: ModelSpec) -> Model:
    text, shipped = spec.name_or_path, list_models()
    is_file = text.endswith((".safetensors", ".pt"))
    if ":" in text and not is_file:
        return _call_factory(text, spec)
    if text == BIOMEDPARSE:
        return open_biomedparse(_find_published(spec.weights), _choose_execution(spec))
    if spec.weights:
        raise ModelError(f"weights {spec.weights} for model {text!r}, which brings its own; expected model biomedparse")
    if text in shipped:
        return open_weights(shipped[text], _choose_execution(spec))
    if is_file:
        return _open_file(text, _choose_execution(spec))
    raise ModelError(
        f"unknown model {text!r}; expected {', '.join(shipped)}, {BIOMEDPARSE} with weights, a .safetensors or .pt "
        "file, or package.module:factory"
    )


def _find_published(weights: str) -> str:
    """The weights file of BiomedParse, which its makers hand out; ModelError says where."""
    if not weights or not Path(weights).is_file():
        found = f"no file {weights}" if weights else "no weights given"
        raise ModelError(
            f"model {BIOMEDPARSE}: {found}; expected biomedparse_v1.pt, which Microsoft hands out under its own "
            "licence as microsoft/BiomedParse on Hugging Face; name the file with --weights"
        )
    return weights


def _choose_execution(spec: ModelSpec) -> Execution:
    return Execution(choose_device(spec.device), spec.batch, spec.options)


def _open_file(path: str, execution: Execution) -> Model:
    if path.endswith(".pt") or not is_open_weights(path):
        return open_biomedparse(path, execution)
    return open_weights(path, execution)


def _call_factory(text: str, spec: ModelSpec) -> Model:
    """The model that a factory makes; ModelError where it takes no spec, gives no model or ends the program."""
    factory, expected = _import_factory(text), "expected a factory that takes a ModelSpec and returns a Model"
    try:
        inspect.signature(factory).bind(spec)
    except TypeError as error:
        raise ModelError(f"model {text}: {error}; {expected}") from error
    try:
        model = factory(spec)
    except SystemExit as error:  # which would end a worker's loop, and leave the run waiting for it
        raise ModelError(f"model {text}: its factory ends the program ({error}); {expected}") from error
    if missing := [name for name in vars(Model) if not name.startswith("_") and not hasattr(model, name)]:
        found = f"{type(model).__name__} without {', '.join(missing)}"
        raise ModelError(f"model {text}: its factory gave {found}; {expected}")
    return model


def _import_factory(text: str) -> Callable[[ModelSpec], Model]:
    module, _, name = text.partition(":")
    try:
        factory: Callable[[ModelSpec], Model] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ModelError(f"model {text}: {error}; expected package.module:factory of an installed module") from error
    return factory


def choose_device(text: str) -> torch.device:
    """The torch device that `text` names; ModelError where this machine has none such."""
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=text)
        return torch.device(text)
    except (RuntimeError, AssertionError) as error:
        found = str(error).splitlines()[0]
        raise ModelError(f"device {text!r}: {found}; expected auto, cpu or cuda[:n] present here") from error

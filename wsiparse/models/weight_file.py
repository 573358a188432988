"""Weight files of the open model: safetensors whose header says what the model is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from wsiparse import __version__
from wsiparse.errors import ModelError
from wsiparse.models.checkpoint import check_numbers, write_safetensors
from wsiparse.models.open_network import OpenNetwork, Sizes
from wsiparse.ontology import Ontology, Target, parse_target

FORMAT = "wsiparse-open"


@dataclass(frozen=True)
class Header:
    """What a weight file says of itself, beside the tensors."""

    name: str
    sizes: Sizes
    targets: tuple[Target, ...]
    tile: int
    training: Mapping[str, Any]
    """Data, licence and settings the weights come from; for people."""


def write_weights(path: str | Path, header: Header, tensors: Mapping[str, Tensor]) -> None:
    """Save weights in half precision with their header; vectors and statistics stay in single precision."""
    halves = {name: (t.half() if t.ndim > 1 else t.float()).contiguous() for name, t in tensors.items()}
    # One entry: the library writes several in no fixed order, and equal weights would differ in their digest.
    metadata = {FORMAT: json.dumps(asdict(header))}
    with write_safetensors(Path(path)) as partial:
        save_file(halves, partial, metadata)


def read_weights(path: str | Path) -> tuple[Header, OpenNetwork]:
    """The header and the float32 network on CPU of a weight file; ModelError where it is none of this architecture."""
    header = read_header(path)
    with _open_file(path) as file:
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    check_numbers(tensors, f"weights {path}")
    network = OpenNetwork(header.sizes)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise ModelError(f"weights {path}: {first}; expected the tensors its header names; train it anew") from error
    return header, network


def read_header(path: str | Path) -> Header:
    """The header of a weight file alone; as `read_weights`."""
    with _open_file(path) as file:
        return _parse_header(file.metadata() or {}, str(path))


def is_open_weights(path: str | Path) -> bool:
    """Whether a safetensors file holds this architecture; ModelError where it is no safetensors file."""
    with _open_file(path) as file:
        return FORMAT in (file.metadata() or {})


@contextmanager
def _open_file(path: str | Path) -> Iterator[Any]:
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise ModelError(f"weights {path}: {error}; expected a safetensors file written by `wsiparse train`") from error


def _parse_header(metadata: Mapping[str, str], path: str) -> Header:
    if FORMAT not in metadata:
        raise ModelError(f"weights {path}: no header {FORMAT!r} in it; expected a file that `wsiparse train` wrote")
    try:
        entries = json.loads(metadata[FORMAT])
        targets = Ontology(tuple(parse_target(entry, path) for entry in entries.pop("targets"))).targets
        return Header(**{**entries, "sizes": Sizes(**entries["sizes"]), "targets": targets})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"weights {path}: a header that cannot be read ({error!r}); expected one as wsiparse {__version__} writes; "
            "use the version that wrote it, or train anew"
        ) from error

"""Weights of BiomedParse: files of tensors under the official names, read strictly.

Nothing is unpickled, nothing is skipped silently: every tensor that the network needs must be in the file with its
shape, and a tensor nobody expects is an error that names it.
"""

from __future__ import annotations

import errno
import hashlib
import pickle
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wsiparse.errors import ModelError
from wsiparse.files import write_whole
from wsiparse.models.network import PUBLISHED, Sizes, build_biomedparse

FORMAT = "biomedparse-v1"
_PREDICTOR = "sem_seg_head.predictor."
_TEXT = _PREDICTOR + "lang_encoder."

NAMES = (
    ("backbone.", "backbone."),
    ("sem_seg_head.pixel_decoder.transformer.encoder.layers.", "pixel_encoder.layers."),
    ("sem_seg_head.pixel_decoder.", "pixel_encoder."),
    (_TEXT + "lang_proj", "text_encoder.lang_proj"),
    (_TEXT + "lang_encoder.", "text_encoder."),
    (_TEXT + "logit_scale", "mask_decoder.logit_scale"),
    (_PREDICTOR + "transformer_cross_attention_layers.#.multihead_attn.", "mask_decoder.layers.#.cross_attention."),
    (_PREDICTOR + "transformer_cross_attention_layers.#.norm.", "mask_decoder.layers.#.cross_norm."),
    (_PREDICTOR + "transformer_self_attention_layers.#.self_attn.", "mask_decoder.layers.#.self_attention."),
    (_PREDICTOR + "transformer_self_attention_layers.#.norm.", "mask_decoder.layers.#.self_norm."),
    (_PREDICTOR + "transformer_ffn_layers.#.norm.", "mask_decoder.layers.#.feed_norm."),
    (_PREDICTOR + "transformer_ffn_layers.#.", "mask_decoder.layers.#."),
    (_PREDICTOR, "mask_decoder."),
)
"""Beginnings of the official names and of ours, the longer ones first; # is the number of a layer."""

UNUSED = (
    "dilation_kernel",
    "criterion.",
    _TEXT + "biomed_encoder.",
    _PREDICTOR + "pn_indicator.",
    _PREDICTOR + "mask_sptial_embed.",
    _PREDICTOR + "spatial_embed.",
    _PREDICTOR + "spatial_featured.",
)
"""Beginnings of official names that no text prompt ever reaches: training, visual prompts, a second text encoder."""


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Give a network the weights of a `.pt` or `.safetensors` file, keeping their precision.

    A network on the meta device takes the tensors of the file as its own, so that they exist once.
    """
    tensors = {rename_official(name): tensor for name, tensor in read_weights(path).items()}
    check_tensors(tensors, network.state_dict(), str(path))
    network.load_state_dict(tensors, assign=True)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a file by official name, without those that are known to be unused."""
    return {name: tensor for name, tensor in _read_tensors(Path(path)).items() if not name.startswith(UNUSED)}


@dataclass(frozen=True)
class Conversion:
    """What became of a weights file."""

    digest: str
    """SHA-256 of the file that was written."""
    kept: int
    """Tensors in it."""
    left: Mapping[str, int]
    """Tensors left behind, by the beginnings in `UNUSED`."""


def convert_weights(source: str | Path, target: str | Path, sizes: Sizes = PUBLISHED) -> Conversion:
    """Write the used tensors of a `.pt` or `.safetensors` file as safetensors, under the official names.

    Raises ModelError, and writes nothing, where they are not exactly the tensors of BiomedParse v1.
    """
    if Path(target).suffix != ".safetensors":
        raise ModelError(f"{target}: expected a name that ends in .safetensors, by which the file is read again")
    with torch.device("meta"):
        expected = build_biomedparse(sizes).state_dict()
    found = _read_tensors(Path(source))
    used = {name: tensor.contiguous() for name, tensor in found.items() if not name.startswith(UNUSED)}
    check_tensors({rename_official(name): tensor for name, tensor in used.items()}, expected, str(source))
    with write_safetensors(Path(target)) as partial:
        save_file(used, partial, {"format": FORMAT})
    left = Counter(next(start for start in UNUSED if name.startswith(start)) for name in found.keys() - used.keys())
    return Conversion(digest_weights(target), len(used), dict(sorted(left.items())))


@contextmanager
def write_safetensors(path: Path) -> Iterator[Path]:
    """As `write_whole`, for safetensors' library: it lets nobody but the owner read, and has errors of its own."""
    with write_whole(path) as partial:
        partial.touch()
        mode = partial.stat().st_mode  # as files are made here
        try:
            yield partial
        except SafetensorError as error:
            raise OSError(errno.EIO, str(error)) from error
        partial.chmod(mode)


def digest_weights(path: str | Path) -> str:
    """SHA-256 of a weights file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rename_official(name: str) -> str:
    """Our name of an official tensor; a name of no known beginning stays as it is."""
    return _rename(name, NAMES)


def rename_ours(name: str) -> str:
    """The official name of one of our tensors."""
    return _rename(name, [(ours, official) for official, ours in NAMES])


def check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    """Refuse tensors that are not exactly the expected ones in name and shape, and those that hold no numbers."""
    missing, unknown = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing:
        raise ModelError(f"{source}: {_describe(missing)} missing; expected the complete weights of BiomedParse v1")
    if unknown:
        raise ModelError(f"{source}: {_describe(unknown)} unknown; expected the weights of BiomedParse v1")
    for name, tensor in expected.items():
        if tensors[name].shape != tensor.shape:
            found, wanted = tuple(tensors[name].shape), tuple(tensor.shape)
            raise ModelError(f"{source}: {rename_ours(name)} has shape {found}, expected {wanted}; check the sizes")
    check_numbers({rename_ours(name): tensor for name, tensor in tensors.items()}, source)


def check_numbers(tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise ModelError where a tensor holds nan or infinity: its network would find nothing, or little, in silence."""
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ModelError(
                f"{source}: {name} holds what is no finite number; expected finite weights; copy the file again or "
                "train it anew"
            )


def _describe(names: list[str]) -> str:
    more = f" and {len(names) - 1} more are" if len(names) > 1 else " is"
    return rename_ours(names[0]) + more


def _rename(name: str, table: Iterable[tuple[str, str]]) -> str:
    for before, after in table:
        pattern = re.escape(before).replace(r"\#", r"(\d+)")
        if match := re.match(pattern, name):
            return after.replace("#", match.group(1) if match.groups() else "") + name[match.end() :]
    return name


def _read_tensors(path: Path) -> dict[str, Tensor]:
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickled(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"weights {path}: {error}; expected a safetensors file") from error


def _read_pickled(path: Path) -> dict[str, Tensor]:
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, LookupError, ValueError) as error:
        # PyTorch's own words go on to advise that the file be unpickled without looking; of bytes that it takes for a
        # pickle it says nothing that helps.
        raise ModelError(f"weights {path}: damaged or more than tensors; expected a PyTorch file of these") from error
    except (OSError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"weights {path}: {reason}; expected a PyTorch file of tensors alone") from error
    if isinstance(tensors, dict) and "states" in tensors:
        raise ModelError(
            f"weights {path}: the checkpoint of a training; expected the weights that it writes at its end, a "
            ".safetensors file in the same folder"
        )
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise ModelError(f"weights {path}: not a flat table of tensors; expected the official biomedparse_v1.pt")
    return tensors

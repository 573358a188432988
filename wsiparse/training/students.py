"""Networks that the loop can teach: the open one, and BiomedParse's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from wsiparse.errors import InputError
from wsiparse.models.biomedparse import SIDE
from wsiparse.models.checkpoint import FORMAT, load_weights, rename_ours, write_safetensors
from wsiparse.models.load import list_models
from wsiparse.models.network import PUBLISHED, STRIDE, Network, Sizes, build_biomedparse
from wsiparse.models.open_network import OpenNetwork, place_network
from wsiparse.models.open_network import Sizes as OpenSizes
from wsiparse.models.prompts import tokenize_prompt
from wsiparse.models.tokenizer import load_tokenizer
from wsiparse.models.weight_file import Header, is_open_weights, read_header, read_weights, write_weights
from wsiparse.ontology import Ontology
from wsiparse.training.settings import WEIGHTS, TrainingSettings, check_sides


class Student(Protocol):
    """What the loop must know of a network beside its parameters."""

    @property
    def network(self) -> nn.Module:
        """Images [N, 3, H, W] in 0..1, tokens [P, ...] and the mpp of what is asked [N] to logits [N, P, H, W]."""

    @property
    def stride(self) -> int:
        """Sides of tiles are multiples of it."""

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """Prompts as the network reads them [P, ...]."""

    def place(self, device: torch.device) -> nn.Module:
        """The network on a device, laid out for training there."""

    def write(self, path: Path, weights: dict[str, Tensor], ontology: Ontology, settings: TrainingSettings) -> None:
        """Write a weight file that `--model` takes, of a state of the network."""


@dataclass(frozen=True)
class OpenStudent:
    """The network of the open model."""

    network: OpenNetwork
    licence: str = ""
    """Those of the weights that the config names; what is learned from them is under these too, unless the notes say
    otherwise."""

    @property
    def stride(self) -> int:
        """That of the network."""
        return self.network.sizes.stride

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """Pieces of words [P, WORDS, PIECES]."""
        buckets = self.network.sizes.buckets
        return torch.from_numpy(np.stack([tokenize_prompt(prompt, buckets) for prompt in prompts]))

    def place(self, device: torch.device) -> nn.Module:
        """The network on a device, channels last."""
        return place_network(self.network, device)

    def write(self, path: Path, weights: dict[str, Tensor], ontology: Ontology, settings: TrainingSettings) -> None:
        """Write an open model with its header."""
        sizes = self.network.sizes
        inherited = {"licence": self.licence} if self.licence and "licence" not in settings.notes else {}
        learned = {"steps": settings.steps, "seed": settings.seed, "sizes": asdict(sizes)}
        training = {**settings.notes, **inherited, **learned}
        header = Header(settings.name, sizes, ontology.targets, settings.tile, training)
        write_weights(path, header, weights)


class PromptedNetwork(nn.Module):
    """BiomedParse's network as a function of crops: resized to `side` pixels, one mask a prompt, and back.

    For each prompt it answers with the query nearest to the prompt's words, as in a run; the loss moves that query's
    mask, while which query is nearest follows from the weights and has no gradient of its own.
    """

    def __init__(self, parts: Network, side: int) -> None:
        super().__init__()
        self.parts, self.side = parts, side

    def forward(self, images: Tensor, tokens: Tensor, _mpp: Tensor) -> Tensor:
        """Logits [N, P, H, W] of images [N, 3, H, W] in 0..1 for token ids and their use [P, 2, T]."""
        # With antialias the kernel is that of Pillow, by which a run resizes.
        size = (self.side, self.side)
        resized = functional.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=True)
        features = self.parts.encode_images(resized.clamp(0, 1).mul(255).permute(0, 2, 3, 1))
        prompts = self.parts.encode_prompts(tokens[:, 0], tokens[:, 1] > 0)
        logits = self.parts.decode(features, prompts)
        return functional.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)


class BiomedParseStudent:
    """BiomedParse's network, trained further from its weights."""

    def __init__(self, weights: str | Path, sizes: Sizes = PUBLISHED, side: int = SIDE) -> None:
        with torch.device("meta"):
            parts = build_biomedparse(sizes)
        load_weights(parts, weights)
        self.network = PromptedNetwork(parts.float(), side)
        self.stride = STRIDE

    def tokenize(self, prompts: Sequence[str]) -> Tensor:
        """Token ids, and which of them are no padding [P, 2, T]."""
        ids, used = load_tokenizer().encode_all(prompts)
        return torch.from_numpy(np.stack([ids, used.astype(ids.dtype)], 1))

    def place(self, device: torch.device) -> nn.Module:
        """The network on a device."""
        return self.network.to(device)

    def write(self, path: Path, weights: dict[str, Tensor], ontology: Ontology, settings: TrainingSettings) -> None:
        """Write the tensors under the official names."""
        named = {rename_ours(name.removeprefix("parts.")): tensor.contiguous() for name, tensor in weights.items()}
        with write_safetensors(path) as partial:
            save_file(named, partial, {"format": FORMAT})


def start_student(settings: TrainingSettings) -> Student:
    """A network with the weights that the config starts from, or the open one with random weights.

    Raises InputError where it cannot take the config's crops or tiles, or has other sizes than the config asks for.
    """
    torch.manual_seed(settings.seed)
    licence = _join_licences(settings)
    if not settings.start:
        return OpenStudent(OpenNetwork(settings.sizes or OpenSizes()), licence)
    student = _load_student(settings, "start")
    check_sides(settings, student.stride, f"start {settings.start}")
    return replace(student, licence=licence) if isinstance(student, OpenStudent) else student


def load_kept(settings: TrainingSettings, student: Student) -> dict[str, Tensor]:
    """The weights of which `start_share` stays; InputError where they are of another network than the student's."""
    key = "kept" if settings.kept else "start"
    kept: dict[str, Tensor] = _load_student(settings, key).network.state_dict()
    if _list_shapes(kept) != _list_shapes(student.network.state_dict()):
        raise InputError(
            f"{key} {getattr(settings, key)}: weights of another network than learns; name weights of the same sizes, "
            "and in `sizes` the scales where the network has some"
        )
    return kept


def _list_shapes(weights: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in weights.items()}


def find_weights(settings: TrainingSettings, key: str) -> Path | None:
    """The file of weights that a key of the config names, by its path or a shipped name; None where it names none."""
    named = getattr(settings, key)
    return list_models().get(named, Path(named)) if named else None


def _join_licences(settings: TrainingSettings) -> str:
    """What the weights that the config names say of their licence, each once; empty where none says any."""
    paths = [find_weights(settings, key) for key in WEIGHTS]
    ours = [path for path in paths if path and path.is_file() and path.suffix != ".pt" and is_open_weights(path)]
    named = [str(read_header(path).training.get("licence", "")) for path in ours]
    return " and ".join(dict.fromkeys(filter(None, named)))


def _load_student(settings: TrainingSettings, key: str) -> Student:
    named, path = f"{key} {getattr(settings, key)}", find_weights(settings, key)
    if path is None or not path.is_file():
        raise InputError(
            f"{named}: no such file; expected {', '.join(list_models())}, or a file of weights, seen from the config's "
            "folder"
        )
    if path.suffix == ".pt" or not is_open_weights(path):
        return BiomedParseStudent(path)
    header, network = read_weights(path)
    asked = settings.sizes or header.sizes
    asked = replace(asked, scales=asked.scales or header.sizes.scales)
    if not header.sizes.scales and replace(asked, scales=()) == header.sizes:
        network.part_scales(asked.scales)
    if asked != network.sizes:
        raise InputError(
            f"{named}: sizes {header.sizes}, the config asks for {asked}; leave sizes out, or but for scales where it "
            "has none"
        )
    return OpenStudent(network)


def freeze_rest(network: nn.Module, learn: Sequence[str]) -> nn.Module:
    """The network with the parts alone that `learn` names left to change; all where it names none.

    Raises InputError for a part that the network has not.
    """
    names = [f".{name}." for name, _ in network.named_parameters()]
    if missing := [part for part in learn if not any(f".{part}." in name for name in names)]:
        raise InputError(f"learn {missing[0]!r}: no such part; expected some of {_list_parts(network)}")
    for (_, parameter), name in zip(network.named_parameters(), names, strict=True):
        parameter.requires_grad_(not learn or any(f".{part}." in name for part in learn))
    return network


def _list_parts(network: nn.Module) -> list[str]:
    inner = network.parts if isinstance(network, PromptedNetwork) else network
    return [name for name, _ in inner.named_children()]

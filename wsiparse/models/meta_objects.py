"""Meta-object types: the coarse kinds that BiomedParse tells apart whatever the prompt, and their text embeddings."""

from __future__ import annotations

import functools
from contextlib import suppress
from importlib import resources
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from wsiparse.errors import OutputError
from wsiparse.files import write_whole
from wsiparse.models.network import Network

META_OBJECTS = (
    "liver",
    "lung",
    "kidney",
    "pancreas",
    "heart anatomies",
    "brain anatomies",
    "eye anatomies",
    "vessel",
    "other organ",
    "tumor",
    "infection",
    "other lesion",
    "fluid disturbance",
    "other abnormality",
    "histology structure",
    "other",
    "background",
)
"""The types in the order of the classifier; the last means that there is no object."""


@functools.cache
def load_templates() -> tuple[str, ...]:
    """The 81 wordings over which the embedding of a type is averaged."""
    text = resources.files("wsiparse.models").joinpath("data", "templates.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def embed_meta_objects(network: Network) -> Tensor:
    """Unit text embeddings [types, C]: the mean over all wordings of a type."""
    return torch.stack([_embed_type(network, name) for name in META_OBJECTS])


def load_meta_objects(network: Network, weights: Path, digest: str) -> Tensor:
    """The embeddings of a network with these weights, kept in a file beside them once they have been computed.

    A file that belongs to other weights is replaced; where the folder cannot be written, each process computes anew.
    """
    path = weights.with_suffix(".meta-objects.safetensors")
    if path.exists():
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("weights") == digest:
                found: Tensor = file.get_tensor("embeddings")
                return found
    with torch.inference_mode():
        embeddings = embed_meta_objects(network).cpu()
    with suppress(OutputError), write_whole(path) as partial:
        partial.write_bytes(save({"embeddings": embeddings.clone()}, {"weights": digest}))
    return embeddings


def _embed_type(network: Network, name: str) -> Tensor:
    sentences = network.embed_texts([template.format(name) for template in load_templates()]).sentences
    return functional.normalize(functional.normalize(sentences, dim=-1).mean(0), dim=-1)

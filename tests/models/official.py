"""The official network at reduced size: its weights, its outputs, and ours built from them."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from wsiparse.models.biomedparse import BiomedParse, open_biomedparse
from wsiparse.models.checkpoint import load_weights
from wsiparse.models.execution import Execution
from wsiparse.models.load import ModelSpec
from wsiparse.models.network import Network, Sizes, build_biomedparse

DATA = Path(__file__).parents[1] / "data" / "biomedparse"
EMBEDDING = "sem_seg_head.predictor.lang_encoder.lang_encoder.token_embedding.weight"
REDUCED = Sizes(
    backbone_width=24,
    backbone_depths=(1, 1, 2, 1),
    width=64,
    heads=4,
    hidden=128,
    encoder_layers=2,
    decoder_layers=4,
    queries=21,
    text_width=32,
    text_heads=4,
    text_layers=2,
)


@functools.cache
def load_golden() -> dict[str, Tensor]:
    return load_file(DATA / "golden.safetensors")


@functools.cache
def load_cases() -> dict[str, Any]:
    cases: dict[str, Any] = json.loads((DATA / "cases.json").read_text())
    return cases


def official_weights() -> dict[str, Tensor]:
    tensors = load_file(DATA / "weights.safetensors")
    rows, places = tensors.pop("token_rows"), tensors.pop("tokens")
    embedding = torch.zeros(REDUCED.vocabulary, rows.shape[1])
    embedding[places] = rows
    return tensors | {EMBEDDING: embedding}


def write_official_weights(folder: Path) -> Path:
    path = folder / "reduced.safetensors"
    save_file(official_weights(), path)
    return path


def load_reduced(path: Path, dtype: torch.dtype) -> Network:
    with torch.device("meta"):
        network = build_biomedparse(REDUCED)
    load_weights(network, path)
    return network.to(dtype)


def build_reduced(spec: ModelSpec) -> BiomedParse:
    """The factory that a run names `tests.models.official:build_reduced`, with the weights beside it."""
    return open_biomedparse(spec.weights, Execution(options=spec.options), sizes=REDUCED)

"""BiomedParse v1 as a model of slides: encode each tile once, answer any number of prompts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from wsiparse.errors import ModelError
from wsiparse.models.checkpoint import digest_weights, load_weights
from wsiparse.models.mask_decoder import PromptEmbeddings
from wsiparse.models.memory import fit_batch
from wsiparse.models.meta_objects import load_meta_objects
from wsiparse.models.model import Probabilities
from wsiparse.models.network import PUBLISHED, Network, Sizes, build_biomedparse
from wsiparse.models.pixel_encoder import PixelFeatures
from wsiparse.models.pixels import resize_pixels
from wsiparse.ontology import Target

SIDE = 1024
"""Pixels on each side of the image that the network sees."""
CELL_FIELD_UM = 64.0
"""Width of tissue the network saw in training on cells: PanNuke, 256 pixels of 0.25 µm."""
GLAND_FIELD_UM = 480.0
"""Width of tissue the network saw in training on glands: GlaS, 775 pixels of 0.62 µm, padded to a square."""
CELLS = ("connective tissue cells", "inflammatory cells", "neoplastic cells", "epithelial cells")
GLANDS = "glandular structure"
IMAGE_BYTES = 1_000_000_000
"""Peak of the forward pass of one image in float32; 0.8 GB were measured on CPU (benchmarks/prompts.py)."""
PROMPT_BYTES = 20_000_000
"""Masks of all queries at 1/8 of 1024 and what attention makes of them."""
COLORS = ((0, 114, 178), (240, 228, 66), (213, 94, 0), (0, 158, 115))

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Execution:
    """Where and how the network runs; what it computes stays the same but for rounding."""

    device: torch.device = CPU
    batch: int = 4
    """Tiles a forward pass; the last one is filled up, so that a tile's result never depends on its company."""
    bfloat16: bool = False
    """Multiply matrices in bfloat16, the rest stays in float32."""
    channels_last: bool = False
    """Keep the weights of convolutions in the layout that tensor cores read."""
    compile: str = ""
    """Mode of `torch.compile`, such as `default` or `reduce-overhead` (CUDA graphs); empty runs eagerly."""


EAGER = Execution()


class BiomedParse:
    """Answers prompts about tiles of any side, which are resized to 1024 pixels as the official call does.

    Each prompt is asked by itself: prompts in one official call attend to one another and change each other's masks.
    The working scale decides what the network sees of a slide: `tile` pixels of a target's mpp are its field of view.
    Masks come out at a quarter of 1024, so that a tile of 256 pixels holds all there is to know.
    """

    def __init__(self, network: Network, weights: Path, execution: Execution, tile: int = 256) -> None:
        self.name = "biomedparse-v1-bfloat16" if execution.bfloat16 else "biomedparse-v1"
        self.digest = digest_weights(weights)
        self.tile = tile
        self._weights, self._execution = weights, execution
        # On CPU the library picks its algorithms by batch size, and the last bit would follow; one tile costs the same.
        self._batch = 1 if execution.device.type == "cpu" else execution.batch
        layout = torch.channels_last if execution.channels_last else torch.contiguous_format
        self._network = network.to(device=execution.device, memory_format=layout)  # type: ignore[call-overload]
        self._encode = _compile(self._network.encode_images, execution.compile)
        self._decode = _compile(self._network.decode, execution.compile)
        self._embed = functools.cache(self._network.embed_texts)

    @property
    def targets(self) -> tuple[Target, ...]:
        """Cells and colon glands, each at the scale that gives a tile the field of view of the training images."""
        scale = CELL_FIELD_UM / self.tile
        cells = (
            Target(name, name, "cell", color, scale, instances=True) for name, color in zip(CELLS, COLORS, strict=True)
        )
        prompt = f"{GLANDS} in colon pathology"
        return *cells, Target(GLANDS, prompt, "gland", (0, 160, 120), GLAND_FIELD_UM / self.tile)

    @property
    def tile_bytes(self) -> int:
        """Memory one tile needs at the peak of its forward pass, for as many prompts as the model has targets."""
        return IMAGE_BYTES + len(self.targets) * (PROMPT_BYTES + 4 * self.tile**2)

    def predict(self, pixels: NDArray[np.uint8], targets: Sequence[Target]) -> Probabilities:
        """Probabilities uint8 [N, K, tile, tile] of tiles [N, tile, tile, 3], K in the order of `targets`.

        A target is asked for by its prompt, word for word. Raises ModelError for pixels that are no square tiles.
        """
        parts, self._batch = fit_batch(
            lambda batch: [self._draw(part, self._embed_targets(targets)) for part in _split(pixels, batch)],
            self._batch,
        )
        return np.concatenate(parts)[: len(pixels)]

    def classify(self, pixels: NDArray[np.uint8], targets: Sequence[Target]) -> NDArray[np.float32]:
        """Probability [N, K, types] of each meta-object type for what answers a target's prompt, with or without it.

        The types are `META_OBJECTS`; the last stands for no object at all.
        """
        parts, self._batch = fit_batch(
            lambda batch: [self._name_types(part, self._embed_targets(targets)) for part in _split(pixels, batch)],
            self._batch,
        )
        return np.concatenate(parts)[: len(pixels)]

    @torch.inference_mode()
    def _embed_targets(self, targets: Sequence[Target]) -> PromptEmbeddings:
        prompts: PromptEmbeddings = self._embed(tuple(target.prompt for target in targets))
        return prompts

    @torch.inference_mode()
    def _draw(self, pixels: Tensor, prompts: PromptEmbeddings) -> Probabilities:
        with self._precision():
            logits = self._decode(self._see(pixels), prompts).float()  # [N, K, 256, 256]
        size = pixels.shape[1:3]
        logits = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)  # [N, K, tile, tile]
        return logits.sigmoid_().mul_(255).round_().to(torch.uint8).cpu().numpy()

    @torch.inference_mode()
    def _name_types(self, pixels: Tensor, prompts: PromptEmbeddings) -> NDArray[np.float32]:
        with self._precision():
            queries = self._network.answer(self._see(pixels), prompts).float()
        logits = self._network.mask_decoder.classify(queries, self._meta_objects)
        types: NDArray[np.float32] = logits.softmax(-1).cpu().numpy()
        return types

    @functools.cached_property
    def _meta_objects(self) -> Tensor:
        return load_meta_objects(self._network, self._weights, self.digest).to(self._execution.device)

    def _see(self, pixels: Tensor) -> PixelFeatures:
        features: PixelFeatures = self._encode(resize_pixels(pixels.to(self._execution.device), SIDE, SIDE))
        return features

    def _precision(self) -> torch.autocast:
        return torch.autocast(self._execution.device.type, torch.bfloat16, enabled=self._execution.bfloat16)


def open_biomedparse(
    path: str | Path, execution: Execution = EAGER, tile: int = 256, sizes: Sizes = PUBLISHED
) -> BiomedParse:
    """The model of a weights file, `.pt` as published or `.safetensors`; sizes other than the published are for tests.

    Raises ModelError where a tensor is missing, unknown or of another shape.
    """
    with torch.device("meta"):
        network = build_biomedparse(sizes)
    load_weights(network, path)
    return BiomedParse(network.requires_grad_(False), Path(path), execution, tile)


def _compile(function: Callable[..., Any], mode: str) -> Callable[..., Any]:
    return torch.compile(function, mode=mode) if mode else function


def _split(pixels: NDArray[np.uint8], batch: int) -> list[Tensor]:
    _check_pixels(pixels)
    missing = max(-len(pixels) % batch, 0 if len(pixels) else batch)
    filled = np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), np.uint8)])
    return [torch.from_numpy(filled[start : start + batch]) for start in range(0, len(filled), batch)]


def _check_pixels(pixels: NDArray[np.uint8]) -> None:
    square = pixels.ndim == 4 and pixels.shape[3] == 3 and pixels.shape[1] == pixels.shape[2] > 0
    if pixels.dtype != np.uint8 or not square:
        raise ModelError(
            f"tiles of {pixels.dtype} {pixels.shape}; expected uint8 [N, tile, tile, 3]; plan square tiles"
        )

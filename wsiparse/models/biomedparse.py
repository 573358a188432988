"""BiomedParse v1 as a model of slides: encode each tile once, answer any number of prompts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from wsiparse.errors import ModelError
from wsiparse.models.checkpoint import digest_weights, load_weights
from wsiparse.models.eight_views import average_views
from wsiparse.models.execution import EAGER, Execution, split_tiles
from wsiparse.models.mask_decoder import PromptEmbeddings
from wsiparse.models.memory import fit_batch
from wsiparse.models.meta_objects import load_meta_objects
from wsiparse.models.model import Probabilities, TextVectors
from wsiparse.models.network import PUBLISHED, STRIDE, Network, Sizes, build_biomedparse
from wsiparse.models.pixels import resize_pixels
from wsiparse.ontology import Target, load_ontology

SIDE = 1024
"""Pixels on each side of the image that the network saw in training."""
TARGETS = (
    "connective tissue cells",
    "inflammatory cells",
    "neoplastic cells",
    "epithelial cells",
    "glandular structure",
)
"""What the published code looks for in pathology, and glands; configs/ontology/pathology.toml says at which scale."""
IMAGE_BYTES = 1_000_000_000
"""Peak of the forward pass of one image in float32; 0.8 GB were measured on CPU (benchmarks/prompts.py)."""
PROMPT_BYTES = 20_000_000
"""Masks of all queries at 1/8 of 1024 and what attention makes of them."""
LEAST_SIMILARITY = 0.95


class BiomedParse:
    """Answers prompts about tiles of any side, which are resized to 1024 pixels as the official call does.

    Each prompt is asked by itself: prompts in one official call attend to one another and change each other's masks.
    A target's field of view decides what the network sees of a slide. Masks come out at a quarter of 1024, so that a
    tile of 256 pixels, which is its own, holds all there is to know.
    """

    def __init__(self, network: Network, weights: Path, execution: Execution, tile: int) -> None:
        self.name = "biomedparse-v1-bfloat16" if execution.bfloat16 else "biomedparse-v1"
        self.digest = digest_weights(weights)
        self.tile = tile
        self._side = _check_side(execution.options.input_side or SIDE)
        self._weights, self._execution = weights, execution
        # On CPU the library picks its algorithms by batch size, and the last bit would follow; one tile costs the same.
        self._batch = 1 if execution.device.type == "cpu" else execution.batch
        self._network = network.to(  # type: ignore[call-overload]
            device=execution.device, memory_format=execution.memory_format
        )
        # Compiled as one: of two CUDA graphs in a row, the second may overwrite what the first one gave it.
        self._look = execution.compile(self._network.look)
        self._map = execution.choose_mapper()
        self._embed = functools.cache(self._network.embed_texts)

    @functools.cached_property
    def targets(self) -> tuple[Target, ...]:
        """Cells and colon glands, each with the scale and the field of view of the training images."""
        ontology = load_ontology("pathology")
        return tuple(ontology.find(name) for name in TARGETS)

    @property
    def stride(self) -> int:
        """Any side would do; multiples of this one halve evenly into shards and pyramids."""
        return STRIDE

    @property
    def tile_bytes(self) -> int:
        """Memory one tile needs at the peak of its forward pass, weights and prompts for all targets included."""
        weights: int = sum(tensor.nbytes for tensor in self._network.state_dict().values())
        prompts = len(self.targets) * PROMPT_BYTES + self.pixel_bytes * self.tile**2
        return weights + IMAGE_BYTES * self._side**2 // SIDE**2 + prompts

    @property
    def pixel_bytes(self) -> int:
        """Memory of a tile's pixel: its maps alone, as the network sees every tile at one size."""
        return 4 * len(self.targets)

    @property
    def least_similarity(self) -> float:
        """A cautious guess: the published weights, by which it could be measured, were not at hand."""
        return LEAST_SIMILARITY

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> TextVectors:
        """Unit vectors [N, C] of texts: the sentence embeddings that choose among the queries."""
        unit: TextVectors = functional.normalize(self._embed(tuple(texts)).sentences, dim=-1).cpu().numpy()
        return unit

    def predict(self, pixels: NDArray[np.uint8], targets: Sequence[Target]) -> Probabilities:
        """Probabilities uint8 [N, K, tile, tile] of tiles [N, tile, tile, 3], K in the order of `targets`.

        A target is asked for by its prompt, word for word. Raises ModelError for pixels that are no square tiles.
        """
        draw = functools.partial(self._ask, self._draw, targets=targets)
        return average_views(draw, pixels, self._execution.options.views)

    def classify(self, pixels: NDArray[np.uint8], targets: Sequence[Target]) -> NDArray[np.float32]:
        """Probability [N, K, types] of each meta-object type for what answers a target's prompt, with or without it.

        The types are `META_OBJECTS`; the last stands for no object at all.
        """
        return self._ask(self._name_types, pixels, targets)

    def _ask(
        self, answer: Callable[[Tensor, PromptEmbeddings], Tensor], pixels: NDArray[np.uint8], targets: Sequence[Target]
    ) -> NDArray[Any]:
        _check_pixels(pixels)

        def ask(batch: int) -> list[NDArray[Any]]:
            return self._map(self._infer, split_tiles(pixels, batch), answer, targets)

        parts, self._batch = fit_batch(ask, self._batch)
        return np.concatenate(parts)[: len(pixels)]

    @torch.inference_mode()
    def _infer(
        self, pixels: Tensor, answer: Callable[[Tensor, PromptEmbeddings], Tensor], targets: Sequence[Target]
    ) -> Tensor:
        return answer(pixels, self._embed(tuple(target.at_site(None).prompt for target in targets)))

    def _draw(self, pixels: Tensor, prompts: PromptEmbeddings) -> Tensor:
        queries, fine = self._see(pixels, prompts)
        side = pixels.shape[1]
        return torch.stack([self._draw_tile(*tile, side) for tile in zip(queries, fine, strict=True)])

    def _draw_tile(self, queries: Tensor, fine: Tensor, side: int) -> Tensor:
        """Probabilities uint8 [K, side, side] of one tile's queries [K, C]; zero where nothing is said to be there."""
        drawn = torch.zeros(len(queries), side, side, dtype=torch.uint8, device=fine.device)
        present = self._find_present(queries)
        with self._execution.round_products():
            masks = self._network.mask_decoder.draw_masks(queries[None, None, present], fine[None])[0, 0]
        masks = functional.interpolate(masks.float()[:, None], size=(side, side), mode="bilinear", align_corners=False)
        drawn[present] = masks[:, 0].sigmoid_().mul_(255).round_().to(torch.uint8)
        return drawn

    def _find_present(self, queries: Tensor) -> Tensor | slice:
        """Which of a tile's queries [K, C] are drawn: all, or those that do not surely say there is no object."""
        limit = self._execution.options.skip_absent
        return slice(None) if limit is None else (self._classify(queries)[:, -1] <= limit).nonzero()[:, 0]

    def _name_types(self, pixels: Tensor, prompts: PromptEmbeddings) -> Tensor:
        return self._classify(self._see(pixels, prompts)[0])

    def _classify(self, queries: Tensor) -> Tensor:
        types: Tensor = self._network.mask_decoder.classify(queries.float(), self._meta_objects).softmax(-1)
        return types

    @functools.cached_property
    def _meta_objects(self) -> Tensor:
        return load_meta_objects(self._network, self._weights, self.digest).to(self._execution.device)

    def _see(self, pixels: Tensor, prompts: PromptEmbeddings) -> tuple[Tensor, Tensor]:
        """What answers each prompt, [N, K, C], and the map [N, C, side/4, side/4] that its mask is drawn on."""
        with self._execution.round_products():
            answers: tuple[Tensor, Tensor] = self._look(resize_pixels(pixels, self._side, self._side), prompts)
        return answers


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


def _check_side(side: int) -> int:
    if side < STRIDE or side % STRIDE:
        raise ModelError(f"input_side {side}; expected a multiple of {STRIDE}; leave it out for that of training")
    return side


def _check_pixels(pixels: NDArray[np.uint8]) -> None:
    square = pixels.ndim == 4 and pixels.shape[3] == 3 and pixels.shape[1] == pixels.shape[2] > 0
    if pixels.dtype != np.uint8 or not square:
        raise ModelError(
            f"tiles of {pixels.dtype} {pixels.shape}; expected uint8 [N, tile, tile, 3]; plan square tiles"
        )

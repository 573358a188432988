"""The open model: the shipped architecture behind the Model protocol."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from wsiparse.errors import ModelError
from wsiparse.models.eight_views import average_views
from wsiparse.models.execution import EAGER, Execution, ModelOptions, split_tiles
from wsiparse.models.fused import can_fuse, fuse_encoder
from wsiparse.models.lanes import spread_tiles
from wsiparse.models.memory import fit_batch
from wsiparse.models.model import Probabilities, TextVectors
from wsiparse.models.open_network import (
    OpenNetwork,
    fold_normalization,
    fold_prompts,
    match_prompts,
    place_network,
)
from wsiparse.models.prompts import tokenize_prompt
from wsiparse.models.weight_file import Header, read_weights
from wsiparse.ontology import Target

ENCODER_ARRAYS, FUSED_ARRAYS = 7, 5
"""Peak of the image encoder in arrays of the first level's features, measured on CPU in float32, and a tenth more."""
BYTES_PER_PROMPT_PIXEL = 9
LEAST_SIMILARITY = 0.98


class OpenModel:
    """Text-prompted segmentation by `OpenNetwork`; one image encoding answers all prompts.

    Tiles may have any height and width that are multiples of the network's stride; `tile` is the recommended side.
    """

    def __init__(self, header: Header, network: OpenNetwork, digest: str, execution: Execution) -> None:
        self.name, self.targets, self.tile, self.digest = header.name, header.targets, header.tile, digest
        self.header = header
        self._execution = execution
        # On CPU the convolution is chosen by batch size, and the last bit would follow; tile by tile costs the same.
        self._batch = 1 if execution.device.type == "cpu" else execution.batch
        self._network = place_network(network.eval(), execution.device)
        self._round_products: Callable[[], AbstractContextManager[Any]] = execution.round_products
        sizes = header.sizes
        self._encoders = [fold_normalization(network.image, scale) for scale in range(max(len(sizes.scales), 1))]
        if can_fuse(execution):
            for encoder in self._encoders:
                fuse_encoder(encoder, torch.bfloat16 if execution.bfloat16 else torch.float32)
            self._round_products = nullcontext  # an encoder is of one kind throughout
        self._compiled = [execution.compile(encoder) for encoder in self._encoders]
        self._map = execution.choose_mapper(light=True)
        self._embed_text = functools.cache(self._encode_text)

    @property
    def tile_bytes(self) -> int:
        """Memory of the tiles answered at once at their peak, for as many prompts as the model has targets."""
        return self.tile**2 * self.pixel_bytes

    @property
    def pixel_bytes(self) -> int:
        """Memory that each pixel of a tile takes, in all tiles that are answered at once."""
        features = self.header.sizes.channels[0]  # bytes as well: one feature of 4 bytes is there for 2×2 pixels
        arrays = FUSED_ARRAYS if can_fuse(self._execution) else ENCODER_ARRAYS
        return (arrays * features + BYTES_PER_PROMPT_PIXEL * len(self.targets)) * self._execution.lanes

    @property
    def stride(self) -> int:
        """Sides of tiles are multiples of it."""
        return self.header.sizes.stride

    @property
    def least_similarity(self) -> float:
        """What `python -m benchmarks.free_text` leaves no unrelated word above."""
        return LEAST_SIMILARITY

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> TextVectors:
        """Unit vectors [N, E] of texts: the prompt embeddings that pixels are held against."""
        prompts = torch.stack([self._embed_text(text)[:-1] for text in texts])
        unit: TextVectors = functional.normalize(prompts.float(), dim=-1).cpu().numpy()
        return unit

    def predict(self, pixels: NDArray[np.uint8], targets: Sequence[Target]) -> Probabilities:
        """Probabilities uint8 [N, K, H, W] of tiles [N, H, W, 3]; H and W are multiples of the network's stride.

        A target is asked for by its prompt; every wording that the model's own targets list as a synonym is answered
        as that target. What was learned at different scales is normalised by what is usual there: tiles are encoded
        once for each. Raises ModelError for tiles of another shape.
        """
        self._check_pixels(pixels)
        asked = [self._find_own(target) for target in targets]
        scales = [self.header.sizes.find_scale(target.mpp) for target in asked]
        if len(set(scales)) == 1:
            return self._predict_at(scales[0], pixels, asked)
        found = np.empty((len(pixels), len(asked), *pixels.shape[1:3]), np.uint8)
        for scale in sorted(set(scales)):
            columns = [column for column, own in enumerate(scales) if own == scale]
            found[:, columns] = self._predict_at(scale, pixels, [asked[column] for column in columns])
        return found

    def _predict_at(self, scale: int, pixels: NDArray[np.uint8], targets: Sequence[Target]) -> Probabilities:
        """What `predict` gives of targets that are normalised alike."""
        prompts = torch.stack([self._embed_text(target.at_site(None).prompt) for target in targets])
        kernel, bias = self._run_alone(self._fold_prompts, prompts)

        def answer(tiles: NDArray[np.uint8]) -> Probabilities:
            parts, self._batch = fit_batch(
                lambda size: self._map(self._predict_batch, split_tiles(tiles, size), scale, kernel, bias), self._batch
            )
            return np.concatenate(parts)[: len(tiles)]

        return average_views(answer, pixels, self._execution.options.views)

    @torch.inference_mode()
    def _predict_batch(self, pixels: Tensor, scale: int, kernel: Tensor, bias: Tensor) -> Tensor:
        # Each shape is compiled anew, for half a minute, and small slides have one each: longer than eager tiles take.
        own_tile = pixels.shape[1:3] == (self.tile, self.tile)
        encoder = self._compiled[scale] if own_tile else self._encoders[scale]
        with self._round_products():
            features = encoder(pixels.permute(0, 3, 1, 2))
            logits = match_prompts(features, kernel, bias).float()  # [N, K, H, W]
        return logits.sigmoid_().mul_(255).round_().to(torch.uint8)

    def _find_own(self, target: Target) -> Target:
        """The model's own target that a target's prompt asks for, or itself."""
        wanted = " ".join(target.at_site(None).prompt.casefold().split())
        for own in self.targets:
            if wanted in {text.casefold() for text in own.wordings()}:
                return own
        return target

    def _run_alone(self, function: Callable[[Tensor], Any], values: Tensor) -> Any:
        """What a function gives, on processors by one thread: several may round a product otherwise."""
        return spread_tiles(function, [values])[0] if self._execution.device.type == "cpu" else function(values)

    @torch.inference_mode()
    def _fold_prompts(self, prompts: Tensor) -> tuple[Tensor, Tensor]:
        return fold_prompts(prompts, self._network.image.head)

    def _encode_text(self, text: str) -> Tensor:
        prompt: Tensor = self._run_alone(
            self._encode_tokens, torch.from_numpy(tokenize_prompt(text, self.header.sizes.buckets))
        )
        return prompt

    @torch.inference_mode()
    def _encode_tokens(self, tokens: Tensor) -> Tensor:
        prompt: Tensor = self._network.text(tokens[None].to(self._execution.device))[0]
        return prompt

    def _check_pixels(self, pixels: NDArray[np.uint8]) -> None:
        stride = self.header.sizes.stride
        right = pixels.dtype == np.uint8 and pixels.ndim == 4 and pixels.shape[-1] == 3 and 0 not in pixels.shape[1:]
        if not right or pixels.shape[1] % stride or pixels.shape[2] % stride:
            raise ModelError(
                f"tiles of {pixels.dtype} {pixels.shape}; {self.name} expects uint8 [N, H, W, 3], H and W multiples of "
                f"{stride}; plan tiles of {self.tile} pixels"
            )


def open_weights(path: str | Path, execution: Execution = EAGER) -> OpenModel:
    """The model of a weight file; ModelError where it is none, or where an option asks what it cannot do."""
    _check_options(execution.options)
    header, network = read_weights(path)
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return OpenModel(header, network, digest, execution)


def _check_options(options: ModelOptions) -> None:
    for name in ("input_side", "skip_absent"):
        if (found := getattr(options, name)) is not None:
            raise ModelError(f"{name} {found}: an option of biomedparse, which this model has not; leave it out")

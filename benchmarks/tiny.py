"""The tile model of the engine's benchmarks: two convolutions, so that all else shows. `benchmarks.tiny:build`."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from wsiparse.models.load import ModelSpec
from wsiparse.ontology import Target

TARGETS = tuple(Target(f"target {n}", f"target {n}", "tiny", (40 * n, 255 - 40 * n, 120), 0.5) for n in range(1, 7))


class TinyModel:
    """Stride-8 features, six targets, softmax; quantised before it is upsampled by repetition."""

    name = "tiny"
    digest = "seed 0"
    targets = TARGETS
    tile = 1024
    tile_bytes = 32 << 20

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.first = torch.nn.Conv2d(3, 8, 8, 8)
        self.second = torch.nn.Conv2d(8, len(TARGETS), 1)

    @torch.inference_mode()
    def predict(self, pixels: NDArray[np.uint8], targets: Sequence[Target]) -> NDArray[np.uint8]:
        """Probabilities [N, K, tile, tile] of tiles [N, tile, tile, 3]."""
        channels = [TARGETS.index(target) for target in targets]
        return np.stack([self._predict_tile(tile)[channels] for tile in pixels])

    def _predict_tile(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        values = torch.from_numpy(tile).permute(2, 0, 1)[None].float().div_(255)
        logits = self.second(torch.relu(self.first(values)))
        coarse = (torch.softmax(logits, 1) * 255).round().to(torch.uint8)[0].numpy()  # [K, tile / 8, tile / 8]
        return coarse.repeat(8, 1).repeat(8, 2)


@functools.cache
def build(spec: ModelSpec) -> TinyModel:
    """The factory that `--model benchmarks.tiny:build` names."""
    return TinyModel()

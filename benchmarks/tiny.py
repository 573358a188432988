"""Models that take little or no time, so that the engine around them shows: `--model benchmarks.tiny:build` and others.

`build` is two convolutions, `build_null` answers at once, `build_sleeping` waits as long as an accelerator would take.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import tiny_network
from benchmarks.tiny_network import STRIDE, TILE, TinyNetwork
from wsiparse.models.load import ModelSpec
from wsiparse.ontology import Target

TARGETS = tuple(
    Target(f"target {n}", f"target {n}", "tiny", (40 * n, 255 - 40 * n, 120), 0.5)
    for n in range(1, tiny_network.TARGETS + 1)
)
SLEEP = "WSIPARSE_BENCHMARK_SLEEP"
"""Variable that says how many seconds the sleeping model takes for a tile."""
SLEEPING_TILE = 64
REPEAT = np.uint64(0x0101010101010101)
"""Puts one byte into each of STRIDE = 8."""


class TinyModel:
    """The tiny network; its answer is quantised before it is upsampled by repetition."""

    name = "tiny"
    digest = "seed 0"
    targets = TARGETS
    tile = TILE
    tile_bytes = 32 << 20

    def __init__(self) -> None:
        self.network = TinyNetwork()

    @torch.inference_mode()
    def predict(self, pixels: NDArray[np.uint8], targets: Sequence[Target]) -> NDArray[np.uint8]:
        """Probabilities [N, K, tile, tile] of tiles [N, tile, tile, 3]."""
        channels = [TARGETS.index(target) for target in targets]
        maps = np.empty((len(pixels), len(channels), self.tile, self.tile), np.uint8)
        for tile, out in zip(pixels, maps, strict=True):
            # Eight equal bytes are one number: a row is repeated along itself by a product.
            wide = self._predict_tile(tile)[channels].astype(np.uint64) * REPEAT
            out.view(np.uint64).reshape(*wide.shape[:2], STRIDE, -1)[...] = wide[:, :, None]
        return maps

    def _predict_tile(self, tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Probabilities [6, tile / 8, tile / 8]."""
        coarse: NDArray[np.uint8] = (
            (self.network(torch.from_numpy(tile)[None]) * 255).round().to(torch.uint8)[0].numpy()
        )
        return coarse


class NullModel:
    """Finds nothing, at no cost."""

    name = "null"
    digest = "null"
    targets = TARGETS
    tile = TILE
    tile_bytes = 1

    def predict(self, pixels: NDArray[np.uint8], targets: Sequence[Target]) -> NDArray[np.uint8]:
        """Zeros [N, K, tile, tile]."""
        return np.zeros((len(pixels), len(targets), self.tile, self.tile), np.uint8)


class SleepingModel(NullModel):
    """Finds nothing in small tiles, after the time that an accelerator would take; the processor is free meanwhile."""

    name = "sleeping"
    targets = TARGETS[:1]
    tile = SLEEPING_TILE

    def predict(self, pixels: NDArray[np.uint8], targets: Sequence[Target]) -> NDArray[np.uint8]:
        """Zeros [N, K, tile, tile]."""
        time.sleep(float(os.environ[SLEEP]) * len(pixels))
        return super().predict(pixels, targets)


@functools.cache
def build(spec: ModelSpec) -> TinyModel:
    """Factory of two convolutions over six targets."""
    return TinyModel()


def build_null(spec: ModelSpec) -> NullModel:
    """Factory of a model that costs nothing."""
    return NullModel()


def build_sleeping(spec: ModelSpec) -> SleepingModel:
    """Factory of a model that sleeps."""
    return SleepingModel()

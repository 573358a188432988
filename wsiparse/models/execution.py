"""How a model is run: what a person may choose of it, and the means of torch that carry the choice out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsiparse.models.feeding import Feeder
from wsiparse.models.lanes import count_lanes, spread_tiles

Mapper = Callable[..., list[NDArray[Any]]]
"""Takes a function of tensors where the model runs, batches of pixels, and what the function is given besides."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class ModelOptions:
    """What may be chosen of how a model answers; the first four change the answer, the others but its rounding."""

    precision: str = "float32"
    """`float32`, or `bfloat16`: matrices are multiplied in bfloat16, the rest stays in float32."""
    input_side: int | None = None
    """Pixels on each side of the image that BiomedParse sees; None takes the 1024 it was trained with."""
    skip_absent: float | None = None
    """BiomedParse draws no mask where it gives "no object" more than this probability; None draws all."""
    views: int = 1
    """8 averages a tile's answers over all its turned and mirrored views, at eight times the cost."""
    channels_last: bool = False
    """Keep the weights of convolutions in the layout that tensor cores read; the open model always does."""
    compile: str = ""
    """Mode of `torch.compile`, such as `default` or `reduce-overhead` (CUDA graphs); empty runs eagerly, as the open
    model does tiles of other sides than its own."""


PLAIN = ModelOptions()


@dataclass(frozen=True)
class Execution:
    """Where a model runs, how many tiles at once, and how."""

    device: torch.device = CPU
    batch: int = 4
    """Tiles a forward pass; the last one is filled up, so that a tile's result never depends on its company."""
    options: ModelOptions = PLAIN

    @property
    def bfloat16(self) -> bool:
        """Whether matrices are multiplied in bfloat16."""
        return self.options.precision == "bfloat16"

    @property
    def memory_format(self) -> torch.memory_format:
        """Layout of the weights of convolutions."""
        return torch.channels_last if self.options.channels_last else torch.contiguous_format

    @property
    def lanes(self) -> int:
        """How many light batches are answered at once."""
        return count_lanes() if self._has_lanes else 1

    @property
    def _has_lanes(self) -> bool:
        return self.device.type == "cpu" and not self.options.compile

    def round_products(self) -> torch.autocast:
        """The context in which the network runs: matrix products in its precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of tensors as it is to be called."""
        if not self.options.compile:
            return function
        compiled: Callable[..., Any] = torch.compile(function, mode=self.options.compile)
        return compiled

    def choose_mapper(self, *, light: bool = False) -> Mapper:
        """What calls a function with each batch: one after another, or light ones on processors side by side.

        CUDA graphs belong to the thread that recorded them, while a worker predicts from whichever is free: what is
        compiled is called from one thread for ever.
        """
        if light and self._has_lanes:
            return _map_side_by_side
        in_turn = Feeder(self.device) if self.device.type == "cuda" else _map_in_turn
        if not self.options.compile:
            return in_turn
        thread = ThreadPoolExecutor(1)
        return lambda *arguments: thread.submit(in_turn, *arguments).result()


EAGER = Execution()


def split_tiles(pixels: NDArray[np.uint8], batch: int) -> list[NDArray[np.uint8]]:
    """Tiles [N, H, W, 3] in batches, at least one, all of one size: a device picks its algorithms by shape."""
    missing = max(-len(pixels) % batch, 0 if len(pixels) else batch)
    filled = np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), np.uint8)]) if missing else pixels
    return [filled[start : start + batch] for start in range(0, len(filled), batch)]


def _map_in_turn(
    function: Callable[..., Tensor], batches: Sequence[NDArray[np.uint8]], *arguments: Any
) -> list[NDArray[Any]]:
    return [_answer_here(batch, function, *arguments) for batch in batches]


def _map_side_by_side(
    function: Callable[..., Tensor], batches: Sequence[NDArray[np.uint8]], *arguments: Any
) -> list[NDArray[Any]]:
    return spread_tiles(_answer_here, batches, function, *arguments)


def _answer_here(batch: NDArray[np.uint8], function: Callable[..., Tensor], *arguments: Any) -> NDArray[Any]:
    """`function` of a batch that stays where it is."""
    answer: NDArray[Any] = function(torch.from_numpy(batch.copy()), *arguments).contiguous().numpy()
    return answer

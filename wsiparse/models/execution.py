"""How a model is run: what a person may choose of it, and the means of torch that carry the choice out."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

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
    """Mode of `torch.compile`, such as `default` or `reduce-overhead` (CUDA graphs); empty runs eagerly."""


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

    def round_products(self) -> torch.autocast:
        """The context in which the network runs: matrix products in its precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of tensors as it is to be called."""
        if not self.options.compile:
            return function
        compiled: Callable[..., Any] = torch.compile(function, mode=self.options.compile)
        return compiled

    def choose_caller(self) -> Callable[..., Any]:
        """What calls a function with its arguments: directly, or, what is compiled, from one thread for ever.

        CUDA graphs belong to the thread that recorded them, while a worker predicts from whichever is free.
        """
        if not self.options.compile:
            return _call
        thread = ThreadPoolExecutor(1)
        return lambda function, *arguments: thread.submit(function, *arguments).result()


EAGER = Execution()


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)

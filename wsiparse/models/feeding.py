"""Batches for a CUDA device: the next one on its way there and the last one on its way back while one is at work.

Copies go through pinned memory, each direction over a stream of its own, and the device is never waited for before it
has its next batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Leaving:
    """An answer on its way to the host."""

    host: Tensor
    arrived: torch.cuda.Event

    def wait(self) -> NDArray[Any]:
        """The answer, once all of it is there."""
        self.arrived.synchronize()
        array: NDArray[Any] = self.host.numpy()
        return array


class Feeder:
    """Has a function of tensors answer batches that lie in the host's memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sending, self._fetching = (torch.cuda.Stream(device) for _ in range(2))  # type: ignore[no-untyped-call]

    def __call__(
        self, function: Callable[..., Tensor], batches: Sequence[NDArray[np.uint8]], *arguments: Any
    ) -> list[NDArray[Any]]:
        """`function` of each batch, on the device, and of the arguments; the answers in their order."""
        answers: list[NDArray[Any]] = []
        leaving: Leaving | None = None
        arriving = self._send(batches[0])
        for following in (*batches[1:], None):
            answer = self._work(function, arriving, arguments)
            if following is not None:
                arriving = self._send(following)
            before, leaving = leaving, self._fetch(answer)
            if before is not None:
                answers.append(before.wait())
        return answers if leaving is None else [*answers, leaving.wait()]

    def _send(self, batch: NDArray[np.uint8]) -> Tensor:
        pinned = pin_memory(batch.shape, torch.uint8)
        pinned.numpy()[...] = batch
        with torch.cuda.stream(self._sending):
            # The allocator of pinned memory gives it to nobody else before the copy is done.
            return pinned.to(self._device, non_blocking=True)

    def _work(self, function: Callable[..., Tensor], pixels: Tensor, arguments: Sequence[Any]) -> Tensor:
        stream = torch.cuda.current_stream(self._device)
        stream.wait_stream(self._sending)
        pixels.record_stream(stream)
        return function(pixels, *arguments).contiguous()

    def _fetch(self, answer: Tensor) -> Leaving:
        self._fetching.wait_stream(torch.cuda.current_stream(self._device))
        host = pin_memory(answer.shape, answer.dtype)
        # It sleeps until its turn: other threads of the process want the processor.
        arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._fetching):
            host.copy_(answer, non_blocking=True)
            answer.record_stream(self._fetching)
            arrived.record(self._fetching)
        return Leaving(host, arrived)


def pin_memory(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor on the host that devices copy from and to by themselves."""
    return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)

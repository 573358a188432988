"""Memory that does not suffice, in whatever words torch says so; an accelerator is asked for less at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

FULL_ACCELERATOR = ("CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC", "CUDNN_STATUS_ALLOC")
"""What torch, CUDA and its libraries say where an accelerator's memory is full, whatever the class of the error."""
FULL_HOST = ("can't allocate memory", "not enough memory")
"""The same of torch's allocator on processors."""


def fit_batch(predict: Callable[[int], Result], batch: int) -> tuple[Result, int]:
    """The answer of `predict(batch)`, the batch halved until it fits the accelerator; and the batch that did.

    Raises MemoryError where not even one tile fits. Whoever calls keeps the smaller batch, so that the price of
    finding it is paid once.
    """
    while True:
        try:
            return predict(batch), batch
        except RuntimeError as error:
            if not _says(error, FULL_ACCELERATOR):
                raise
            if batch == 1:
                raise MemoryError(
                    "one tile does not fit the accelerator's memory; choose fewer targets, a smaller model or "
                    "--device cpu"
                ) from error
        # Outside the handler, whose traceback would keep the failed pass's tensors alive.
        torch.cuda.empty_cache()
        batch //= 2


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a process or its accelerator had too little memory."""
    return isinstance(error, MemoryError) or _says(error, FULL_ACCELERATOR + FULL_HOST)


def _says(error: BaseException, texts: tuple[str, ...]) -> bool:
    full = isinstance(error, torch.OutOfMemoryError)
    return full or (isinstance(error, RuntimeError) and any(text in str(error) for text in texts))

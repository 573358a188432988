"""An accelerator whose memory does not suffice is asked for less at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def fit_batch(predict: Callable[[int], Result], batch: int) -> tuple[Result, int]:
    """The answer of `predict(batch)`, the batch halved until it fits the accelerator; and the batch that did.

    Raises MemoryError where not even one tile fits. Whoever calls keeps the smaller batch, so that the price of
    finding it is paid once.
    """
    while True:
        try:
            return predict(batch), batch
        except torch.OutOfMemoryError as error:
            if batch == 1:
                raise MemoryError(
                    "one tile does not fit the accelerator's memory; choose fewer targets, a smaller model or "
                    "--device cpu"
                ) from error
        # Outside the handler, whose traceback would keep the failed pass's tensors alive.
        torch.cuda.empty_cache()
        batch //= 2

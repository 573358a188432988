"""An accelerator that broke down for a process: whatever CUDA is asked there from then on ends with the same error.

Only a new process can go on. No slide is to blame, not even the one that was being worked on.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LASTING = (
    "unspecified launch failure",
    "illegal memory access",
    "illegal instruction",
    "misaligned address",
    "invalid program counter",
    "operation not supported on global/shared address space",
    "hardware stack error",
    "device-side assert triggered",
    "launch timed out",
    "uncorrectable ECC error",
    "uncorrectable NVLink error",
    "context is destroyed",
    "unknown error",
    "CUBLAS_STATUS_EXECUTION_FAILED",
    "CUDNN_STATUS_EXECUTION_FAILED",
)
"""What CUDA calls errors after which a process must be started anew, and what its libraries make of them."""
CUDA = ("CUDA error", "cuDNN error")
"""How torch begins to tell of them."""

_logger = logging.getLogger(__name__)
_replaceable = threading.Event()


class BreakdownError(ConnectionError):
    """The accelerator is lost to this process; another one continues."""


def end_at_breakdown() -> None:
    """From now on end this process where its accelerator breaks down: whoever started it starts it anew."""
    _replaceable.set()


@contextmanager
def notice_breakdown() -> Iterator[None]:
    """Raise BreakdownError where the accelerator broke down in the block, or end the process if it may be ended."""
    try:
        yield
    except RuntimeError as error:
        if not _is_lasting(error):
            raise
        found = f"the accelerator broke down ({str(error).splitlines()[0]})"
        if _replaceable.is_set():
            _logger.warning("%s; process %d ends, another takes its place", found, os.getpid())
            os._exit(1)  # while it lived it would draw all work to itself, and fail it at once
        raise BreakdownError(f"{found}; the same command in a new process continues where this one ended") from error


def _is_lasting(error: RuntimeError) -> bool:
    text = str(error)
    return text.startswith(CUDA) and any(words in text for words in LASTING)

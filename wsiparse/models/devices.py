"""The accelerators of this machine."""

from __future__ import annotations

import torch


def count_accelerators() -> int:
    """How many CUDA devices this process may use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def name_accelerators() -> list[str]:
    """Names of the CUDA devices, for the record of a run."""
    return [torch.cuda.get_device_name(n) for n in range(count_accelerators())]

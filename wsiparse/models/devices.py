"""The accelerators of this machine, and what its processors are good at."""

from __future__ import annotations

import os

import torch

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Variable with the CUDA devices that a process may use: indices, or unique names of whole ones or of parts."""


def count_accelerators() -> int:
    """How many CUDA devices this process may use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def name_visible(number: int) -> str:
    """What another process's CUDA_VISIBLE_DEVICES has to say for the device that is `number` here, from 0."""
    given = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return given[number] if given else str(number)


def name_accelerators() -> list[str]:
    """Names of the CUDA devices, for the record of a run."""
    return [torch.cuda.get_device_name(n) for n in range(count_accelerators())]


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16 by itself; elsewhere torch imitates it, slower than float32 by far."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return any(has and name.endswith("bf16") for name, has in torch.cpu.get_capabilities().items())

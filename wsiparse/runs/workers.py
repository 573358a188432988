"""How many processes a run starts on this machine, and what they share out among them."""

from __future__ import annotations

from wsiparse.models.cgroups import count_processors
from wsiparse.models.devices import count_accelerators
from wsiparse.runs.config import RunConfig

ANY_DEVICE = frozenset({"auto", "cuda"})
"""Settings of `device` for which each process takes an accelerator of its own; any other names the same for all."""


def count_processes(config: RunConfig) -> int:
    """Processes that do a run's work on this machine, as far as it knows: others' clusters count for one."""
    return count_workers(config) if config.cluster == "local" else 1


def count_workers(config: RunConfig) -> int:
    """Processes of a local cluster: as many as were asked for, else one for each accelerator that is shared out."""
    return config.workers or max(count_shared(config.device), 1)


def count_threads(workers: int) -> int:
    """Processors for the model of each of several workers."""
    return max(count_processors() // workers, 1)


def count_shared(device: str) -> int:
    """Accelerators to share out, one a process; none where `device` names a processor, or the accelerator of all."""
    return count_accelerators() if device in ANY_DEVICE else 0

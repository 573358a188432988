"""The memory that a run's processes on one machine have."""

from __future__ import annotations

from dataclasses import dataclass

from wsiparse.errors import PlanError
from wsiparse.runs.config import RunConfig
from wsiparse.runs.machine import own_memory, usable_memory
from wsiparse.runs.workers import count_processes


@dataclass(frozen=True)
class Room:
    """Memory, and how many processes share it."""

    memory_bytes: int
    processes: int = 1

    def refuse_crowd(self, need_bytes: int) -> None:
        """Raise PlanError with the numbers where all processes together need more, at `need_bytes` for each."""
        if self.processes * need_bytes > self.memory_bytes:
            raise PlanError(
                f"{self.processes} processes need {self.processes} × {need_bytes / 1e9:.1f} GB of memory and "
                f"{self.memory_bytes / 1e9:.1f} GB may be used; lower workers, block_tiles or window, or say with "
                "memory_gb what each may use"
            )


def measure_room(config: RunConfig) -> Room:
    """The room of the processes that a run of these settings has here; several have not been started yet.

    What a process alone holds already is part of what it needs.
    """
    if config.memory_gb:
        return Room(int(config.memory_gb * 1e9))
    processes = count_processes(config)
    return Room(usable_memory(own_memory() if processes == 1 else 0), processes)

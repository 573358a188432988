"""What a plan will take of memory and disk, said before anything runs."""

from __future__ import annotations

from dataclasses import dataclass

from wsiparse.errors import PlanError
from wsiparse.tiles.plan import TilePlan
from wsiparse.tiles.reading import BAND_BYTES
from wsiparse.tiles.resample import STRIP_PIXELS

PROCESS_BYTES = 660 << 20
"""Interpreter, libraries, compiled loops and a small model's weights, as measured on Linux."""
RESAMPLING_BYTES = STRIP_PIXELS * 3
"""A strip of source pixels."""


@dataclass(frozen=True)
class Budget:
    """Projected needs of one plan; none of them grows with the slide but disk and tiles."""

    tiles: int
    blocks: int
    parsed_mm2: float
    """Area of the slide that will be predicted."""
    memory_bytes: int
    """Peak of the process that does all of a block's work."""
    disk_bytes: int
    """Upper bound: the maps and their pyramid, uncompressed."""


def project_budget(plan: TilePlan, targets: int, tile_bytes: int, window: int) -> Budget:
    """The needs of a plan with K targets, `tile_bytes` of model memory a tile and `window` blocks in flight."""
    tiling = plan.tiling
    most = max((len(block.cores) for block in plan.blocks), default=0)
    tiles = most * tiling.tile**2
    band = min((tiling.block + tiling.overlap) ** 2 * 3, BAND_BYTES)
    batch, maps = tiles * 3, (tiles + tiling.block**2) * targets
    memory = PROCESS_BYTES + RESAMPLING_BYTES + band + tile_bytes + window * batch + 2 * maps
    disk = len(plan.blocks) * tiling.block**2 * targets * 4 // 3
    area = plan.shown_pixels * tiling.grid.pixel_area_um2 / 1e6
    return Budget(plan.tiles, len(plan.blocks), area, memory, disk)


def refuse_unaffordable(budget: Budget, memory_bytes: int, disk_bytes: int) -> None:
    """Raise PlanError with the numbers where the plan needs more than there is."""
    if budget.memory_bytes > memory_bytes:
        raise PlanError(
            f"the plan needs {_gigabytes(budget.memory_bytes)} of memory and {_gigabytes(memory_bytes)} may be used; "
            "lower block_tiles, window or, on processors, OMP_NUM_THREADS, or raise memory_gb"
        )
    if budget.disk_bytes > disk_bytes:
        raise PlanError(
            f"the maps may need {_gigabytes(budget.disk_bytes)} of disk and {_gigabytes(disk_bytes)} is free; "
            "choose another output or fewer targets"
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"

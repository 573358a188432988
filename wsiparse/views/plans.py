"""What parsing slides would take, before anything runs."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from wsiparse.errors import SlideError
from wsiparse.models.load import load_model
from wsiparse.runs.machine import free_disk
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.order import Order
from wsiparse.runs.passes import Pass
from wsiparse.runs.planning import SlidePlan, find_misfits, plan_slide, project_pass
from wsiparse.tiles.budget import Budget
from wsiparse.tiles.plan import Tiling
from wsiparse.views.tables import make_table


@dataclass(frozen=True)
class _Planned:
    """One pass over one slide, and what it would take; small, for a cohort has many."""

    slide: str
    part: Pass
    tiling: Tiling
    budget: Budget
    seconds: float
    """Of the model."""

    @property
    def cells(self) -> tuple[str, ...]:
        """Its row of the table."""
        grid, side = self.tiling.grid, self.tiling.tile
        size, tile = f"{grid.width} × {grid.height} at {grid.mpp:g} µm", f"{side} px, {side * grid.mpp:.0f} µm"
        memory = f"{self.budget.memory_bytes / 1e9:.1f} GB"
        counts = _describe_amounts([self])
        return self.slide, self.part.name, str(len(self.part.targets)), size, tile, *counts[:3], memory, *counts[3:]


def show_plans(console: Console, order: Order, rows: Sequence[ManifestRow]) -> int:
    """Tiles, blocks, memory, disk and time of every pass over slides; returns how much of it a run would refuse."""
    columns = ("slide", "pass", "targets ", "canvas", "tile", "parsed mm² ", "tiles ", "blocks ", "memory ", "disk ≤ ")
    table = make_table(*columns, "model time ")
    time_tile = functools.cache(functools.partial(_time_tile, order))
    misfits: list[str] = []
    passes: list[_Planned] = []
    for row in rows:
        try:
            planned = plan_slide(order, row)
        except SlideError as error:
            misfits.append(f"{row.id}: {error}")
        else:
            misfits += [f"{row.id}, pass {part.name}: {error}" for part, error in find_misfits(order, planned)]
            passes += _list_passes(order, planned, time_tile)
    for entry in passes:
        table.add_row(*entry.cells)
    if len(rows) > 1:
        amounts = _describe_amounts(passes)
        table.add_row("all", *[""] * 4, *amounts[:3], "", *amounts[3:], style="bold")
    console.print(table)
    console.print(
        "memory is for each worker; disk is before compression; model time is tiles × that of one alone, "
        "measured here; side by side they take less"
    )
    if len(rows) > 1:
        _warn_of_disk(console, order, passes)
    for misfit in misfits:
        console.print(misfit, style="red")
    return len(misfits)


def _list_passes(order: Order, planned: SlidePlan, time_tile: Callable[[Pass], float]) -> Iterator[_Planned]:
    for part, plan in planned.passes:
        budget, (height, width) = project_pass(order, part, plan), plan.tiling.shape
        share = height * width / part.tile**2  # what shows a whole canvas, or its edge, may be smaller
        yield _Planned(planned.slide.id, part, plan.tiling, budget, budget.tiles * share * time_tile(part))


def _describe_amounts(passes: Sequence[_Planned]) -> tuple[str, ...]:
    """Area, tiles, blocks, disk and seconds of all passes together."""
    budgets = [entry.budget for entry in passes]
    area, disk = sum(budget.parsed_mm2 for budget in budgets), sum(budget.disk_bytes for budget in budgets)
    counts = sum(budget.tiles for budget in budgets), sum(budget.blocks for budget in budgets)
    seconds = sum(entry.seconds for entry in passes)
    return f"{area:.1f}", *map(str, counts), f"{disk / 1e9:.2f} GB", f"{seconds:.0f} s"


def _warn_of_disk(console: Console, order: Order, passes: Sequence[_Planned]) -> None:
    """Say where slides that fit one by one may not all fit: a run tells it of the slide for which none is left."""
    need, free = sum(entry.budget.disk_bytes for entry in passes), free_disk(Path(order.output))
    if need > free:
        console.print(
            f"the maps of all slides may need {need / 1e9:.2f} GB of disk and {free / 1e9:.2f} GB is free",
            style="yellow",
        )


def _time_tile(order: Order, part: Pass) -> float:
    """Seconds of the forward pass of one of a pass's tiles, measured here and now."""
    model = load_model(order.model)
    tile = np.full((1, part.tile, part.tile, 3), 200, np.uint8)
    model.predict(tile, part.targets)
    start = time.perf_counter()
    model.predict(tile, part.targets)
    return time.perf_counter() - start

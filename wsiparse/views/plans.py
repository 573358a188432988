"""What parsing slides would take, before anything runs."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from rich.console import Console

from wsiparse.errors import SlideError
from wsiparse.models.load import load_model
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.order import Order
from wsiparse.runs.passes import Pass
from wsiparse.runs.planning import SlidePlan, find_misfits, plan_slide, project_pass
from wsiparse.views.tables import make_table


def show_plans(console: Console, order: Order, rows: Sequence[ManifestRow]) -> int:
    """Tiles, blocks, memory, disk and time of every pass over slides; returns how much of it a run would refuse."""
    columns = ("slide", "pass", "targets ", "canvas", "tile", "parsed mm² ", "tiles ", "blocks ", "memory ", "disk ≤ ")
    table = make_table(*columns, "model time ")
    time_tile = functools.cache(functools.partial(_time_tile, order))
    misfits: list[str] = []
    for row in rows:
        try:
            planned = plan_slide(order, row)
        except SlideError as error:
            misfits.append(f"{row.id}: {error}")
        else:
            misfits += [f"{row.id}, pass {part.name}: {error}" for part, error in find_misfits(order, planned)]
            for cells in _describe_passes(order, planned, time_tile):
                table.add_row(*cells)
    console.print(table)
    console.print(
        "memory is for each worker; disk is before compression; model time is tiles × that of one alone, "
        "measured here; side by side they take less"
    )
    for misfit in misfits:
        console.print(misfit, style="red")
    return len(misfits)


def _describe_passes(order: Order, planned: SlidePlan, time_tile: Callable[[Pass], float]) -> Iterator[tuple[str, ...]]:
    for part, plan in planned.passes:
        budget, grid = project_pass(order, part, plan), plan.tiling.grid
        size = f"{grid.width} × {grid.height} at {grid.mpp:g} µm"
        tile = f"{plan.tiling.tile} px, {plan.tiling.tile * grid.mpp:.0f} µm"
        counts = (f"{budget.parsed_mm2:.1f}", str(budget.tiles), str(budget.blocks))
        needs = (f"{budget.memory_bytes / 1e9:.1f} GB", f"{budget.disk_bytes / 1e9:.2f} GB")
        seconds = f"{budget.tiles * time_tile(part):.0f} s"
        yield planned.slide.id, part.name, str(len(part.targets)), size, tile, *counts, *needs, seconds


def _time_tile(order: Order, part: Pass) -> float:
    """Seconds of the forward pass of one of a pass's tiles, measured here and now."""
    model = load_model(order.model)
    tile = np.full((1, part.tile, part.tile, 3), 200, np.uint8)
    model.predict(tile, part.targets)
    start = time.perf_counter()
    model.predict(tile, part.targets)
    return time.perf_counter() - start

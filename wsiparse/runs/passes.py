"""The passes over a slide that the targets of a run take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from wsiparse.errors import ModelError
from wsiparse.geometry import Grid
from wsiparse.models.tile_sizes import TileSizes
from wsiparse.ontology import Target
from wsiparse.tiles.plan import Tiling

MOST_OVERLAP = 128
"""Widest overlap that is taken unasked, in pixels; benchmarks/seams.py shows why more gains little."""


@dataclass(frozen=True)
class Pass:
    """Targets that share a working scale and a tile: one plan, one canvas."""

    name: str
    """Also of its folder in parse.zarr: `0.5um`, or `0.5um-256px` where another pass has the same mpp."""
    mpp: float
    tile: int
    """Side of the tile in pixels of that mpp."""
    targets: tuple[Target, ...]


def group_passes(targets: Sequence[Target], tiles: TileSizes) -> tuple[Pass, ...]:
    """One pass for each working mpp and tile, coarsest first, so that a person sees the overview early.

    A target's tile is what shows its field of view, as near as the model can take it, or the model's own. Raises
    ModelError for a field that no tile of the model comes near.
    """
    places = {target.name: (target.mpp, _choose_tile(target, tiles)) for target in targets}
    kinds = sorted(set(places.values()), reverse=True)
    times = Counter(mpp for mpp, _ in kinds)
    return tuple(
        Pass(_name_pass(mpp, tile, times[mpp]), mpp, tile, tuple(t for t in targets if places[t.name] == (mpp, tile)))
        for mpp, tile in kinds
    )


def choose_tiling(part: Pass, grid: Grid, tiles: TileSizes, overlap: int | None = None) -> Tiling:
    """How a pass cuts a canvas, in blocks of one tile; `overlap` is what was asked for.

    One tile alone where it shows the whole canvas, and no tile larger than need be: what a larger one would add is
    mirrored, and models find less in the middle of their own reflection. Only a target that asks for this very field
    of view is shown all of it.
    """
    has_field = any(target.field_um for target in part.targets)
    whole = None if has_field else tiles.cover(max(grid.width, grid.height))
    if whole and whole <= part.tile:
        return Tiling(grid, whole, 0, 1, tiles.stride)
    shared = min(part.tile // 8 * 2, MOST_OVERLAP) if overlap is None else overlap
    return Tiling(grid, part.tile, shared, 1, 0 if has_field else tiles.stride)


def _name_pass(mpp: float, tile: int, times: int) -> str:
    return f"{mpp:g}um" if times == 1 else f"{mpp:g}um-{tile}px"


def _choose_tile(target: Target, tiles: TileSizes) -> int:
    if not target.field_um:
        return tiles.own
    pixels = target.field_um / target.mpp
    if side := tiles.fit(pixels):
        return side
    taken = f"multiples of {tiles.stride}" if tiles.stride else str(tiles.own)
    raise ModelError(
        f"target {target.name!r}: {target.field_um:g} µm at {target.mpp:g} µm per pixel are tiles of {pixels:.0f} "
        f"pixels, and the model takes {taken}; change field_um or mpp"
    )

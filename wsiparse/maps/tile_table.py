"""tiles.parquet: what each tile of a slide says for each target, as a table for people and for the test of a slide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from wsiparse.errors import OutputError
from wsiparse.files import write_whole
from wsiparse.geometry import Grid
from wsiparse.maps.columns import number_column, text_column
from wsiparse.maps.evidence import Evidence
from wsiparse.maps.validity import FEATURES, SCALE, Fits, average_masks, judge_tile

PLACE = ("x", "y", "width", "height")
NUMBERS = (*PLACE, "area_share", *FEATURES, "p_value")
"""Place of the core in level-0 pixels, share of it in the mask, means inside in parts of 255, the tile's p-value."""
_SCHEMA = pa.schema([("pass", pa.string()), ("target", pa.string()), *((name, pa.float64()) for name in NUMBERS)])
_UNREADABLE = b"unreadable_pixels"


@dataclass(frozen=True)
class PassEvidence:
    """The evidence of one pass over a slide."""

    name: str
    grid: Grid
    """The canvas."""
    targets: tuple[str, ...]
    """What the evidence is for, in its order."""
    evidence: Evidence


@dataclass(frozen=True)
class TileTable:
    """Rows pass by pass, target by target, tile by tile."""

    rows: pa.Table

    @property
    def unreadable_pixels(self) -> int:
        """Source pixels of the slide that could not be decoded."""
        return int((self.rows.schema.metadata or {}).get(_UNREADABLE, 0))

    def select(self, target: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Statistics [N, features] and p-values [N] of those tiles that have a mask of the target."""
        mine = pc.and_(pc.equal(self.rows["target"], target), pc.greater(self.rows["area_share"], 0.0))
        rows = self.rows.filter(mine)
        means = np.stack([rows[name].to_numpy() for name in FEATURES], 1)
        return means * (255 / SCALE), rows["p_value"].to_numpy()


def tabulate_tiles(parts: Sequence[PassEvidence], fits: Fits, slide_grid: Grid) -> TileTable:
    """The table of a slide's evidence; every target of it needs its fits."""
    unreadable = sum(part.evidence.unreadable_pixels for part in parts)
    tables = [table for part in parts for table in _tabulate_pass(part, fits, slide_grid)]
    rows = pa.concat_tables([pa.Table.from_batches([], _SCHEMA), *tables])
    return TileTable(rows.replace_schema_metadata({_UNREADABLE: str(unreadable)}))


def write_tiles(path: Path, table: TileTable) -> None:
    """Write tiles.parquet; the same table gives the same bytes."""
    with write_whole(path, within=path.parent) as partial:
        pq.write_table(table.rows, partial, compression="zstd")


def read_tiles(path: Path) -> TileTable:
    """The table that `write_tiles` wrote."""
    try:
        return TileTable(pq.read_table(path))
    except (OSError, pa.ArrowInvalid) as error:
        raise OutputError(f"{path}: {error}; expected the tiles.parquet of a run; run it again") from error


def _tabulate_pass(part: PassEvidence, fits: Fits, slide_grid: Grid) -> Iterator[pa.Table]:
    places = part.evidence.cores * part.grid.scale_to(slide_grid)  # [N, 4]
    cores = part.evidence.cores[:, 2] * part.evidence.cores[:, 3]
    for k, target in enumerate(part.targets):
        sums = part.evidence.sums[:, k]
        means, p_values = average_masks(sums) * (SCALE / 255), judge_tile(average_masks(sums), fits[target])
        numbers = np.column_stack([places, sums[:, 0] / cores, means, p_values])
        names = [text_column([name] * len(numbers)) for name in (part.name, target)]
        yield pa.Table.from_arrays([*names, *map(number_column, numbers.T)], schema=_SCHEMA)

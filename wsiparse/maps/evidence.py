"""What speaks for the targets of a block, measured while its pixels are at hand, and kept until its slide is done.

Each tile is asked for its core alone: what is trusted of it, and nothing twice. A block's file is written before its
shard, so that a block that is done has its evidence too; a block without anything to tell has no file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import OutputError
from wsiparse.files import write_whole
from wsiparse.geometry import Region
from wsiparse.maps.validity import FEATURES, sum_masks
from wsiparse.tiles.plan import Block, Tiling
from wsiparse.tiles.reading import TileBatch
from wsiparse.tiles.stitch import match_cores


@dataclass(frozen=True)
class Evidence:
    """Sums over the masks of N tiles for K targets; whole numbers, so that no order of adding matters."""

    cores: NDArray[np.int64]
    """x, y, width and height of each core in canvas pixels, clipped to the canvas [N, 4]."""
    sums: NDArray[np.float64]
    """Area of each mask and sums of the features inside [N, K, 1 + features]."""
    unreadable_pixels: int
    """Source pixels that could not be decoded."""


def weigh_block(tiles: NDArray[np.uint8], channels: Sequence[int], batch: TileBatch, tiling: Tiling) -> Evidence:
    """The evidence for some channels of a block's predicted tiles [N, K, height, width], from their pixels."""
    block = batch.block
    places = [core.intersect(block.region) for core in block.cores] if channels else []
    sums = np.zeros((len(places), len(channels), 1 + len(FEATURES)))
    for n, (_, in_tile) in enumerate(match_cores(tiling, block) if channels else ()):
        sums[n] = sum_masks(tiles[n, list(channels), *in_tile], batch.pixels[n, *in_tile])
    return Evidence(_list_places(places), sums, batch.unreadable_pixels)


def write_evidence(folder: Path, block: Block, evidence: Evidence, within: Path) -> None:
    """Keep a block's evidence in a folder below `within`; what an earlier try at the block left there goes."""
    path = _name_file(folder, block)
    if not (evidence.sums.size or evidence.unreadable_pixels):
        path.unlink(missing_ok=True)
        return
    with write_whole(path, within) as partial, partial.open("wb") as file:
        np.savez(file, cores=evidence.cores, sums=evidence.sums, unreadable=evidence.unreadable_pixels)


def read_evidence(folder: Path, blocks: Iterable[Block], targets: int) -> Evidence:
    """The evidence of some blocks as one, tiles row by row over the canvas, for so many targets."""
    parts = [part for block in blocks if (part := _read_file(_name_file(folder, block)))]
    cores = np.concatenate([_list_places([]), *(part.cores for part in parts)])
    sums = np.concatenate([np.zeros((0, targets, 1 + len(FEATURES))), *(part.sums for part in parts)])
    order = np.lexsort((cores[:, 0], cores[:, 1]))
    return Evidence(cores[order], sums[order], sum(part.unreadable_pixels for part in parts))


def _list_places(places: Sequence[Region]) -> NDArray[np.int64]:
    return np.array([(p.x, p.y, p.width, p.height) for p in places], np.int64).reshape(-1, 4)


def _name_file(folder: Path, block: Block) -> Path:
    return folder / f"{block.row}.{block.column}.npz"


def _read_file(path: Path) -> Evidence | None:
    try:
        with np.load(path) as arrays:
            return Evidence(arrays["cores"], arrays["sums"], int(arrays["unreadable"]))
    except FileNotFoundError:
        return None
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise OutputError(f"{path}: {error}; delete the slide's folder and run again") from error

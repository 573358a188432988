"""Where prediction and reference agree least and most: the tiles of an evaluated run that are worth a look."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsiparse.evaluation.scores import Score
from wsiparse.geometry import Region
from wsiparse.slides.levels import cut_region
from wsiparse.tiles.plan import Tiling

KEPT = 3
"""Tiles of each target that are kept of the worst, and as many of the best."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ScoredTile:
    """A region about as large as a tile, where prediction or reference have a pixel of a target."""

    map: str
    """The pass whose label map was compared."""
    region: Region
    """Pixels of that map."""
    score: Score


@dataclass(frozen=True)
class Extremes:
    """The tiles of one target with the lowest and with the highest Dice; of equals the fullest, then the first."""

    worst: tuple[ScoredTile, ...] = ()
    best: tuple[ScoredTile, ...] = ()

    def __add__(self, other: Extremes) -> Extremes:
        """The extremes of two parts of a run, the second of which comes later."""
        worst = sorted((*self.worst, *other.worst), key=lambda tile: (tile.score.dice, -_count(tile.score)))
        best = sorted((*self.best, *other.best), key=lambda tile: (-tile.score.dice, -_count(tile.score)))
        return Extremes(tuple(worst[:KEPT]), tuple(best[:KEPT]))


def find_extremes(tiles: Iterable[ScoredTile]) -> Extremes:
    """The extremes of some tiles of one target, in the order in which they come."""
    shown = tuple(tile for tile in tiles if _count(tile.score))
    return sum((Extremes((tile,), (tile,)) for tile in shown), Extremes())


def pool_extremes(parts: Iterable[Mapping[str, Extremes]]) -> dict[str, Extremes]:
    """The extremes of each target over several groups or slides."""
    sums: dict[str, Extremes] = {}
    for part in parts:
        for target, extremes in part.items():
            sums[target] = sums.get(target, Extremes()) + extremes
    return sums


def choose_side(tiling: Tiling) -> int:
    """The side nearest to a tile's that cuts a block evenly: a sliver would be the worst of them."""
    return math.ceil(tiling.block / max(round(tiling.block / tiling.tile), 1))


def count_tiles(predicted: Mask, drawn: Mask, side: int) -> Iterator[tuple[Region, Sequence[int]]]:
    """Pixels of both, of the prediction and of the reference in each square of `side` pixels of a block [h, w]."""
    height, width = predicted.shape
    both = predicted & drawn
    for square in cut_region(Region(0, 0, width, height), (side, side)):
        yield square, [int(np.count_nonzero(mask[square.slices])) for mask in (both, predicted, drawn)]


def describe_extremes(extremes: Mapping[str, Extremes]) -> list[dict[str, Any]]:
    """The extremes of targets as a file keeps them."""
    return [
        {"target": target, "worst": list(map(_describe, part.worst)), "best": list(map(_describe, part.best))}
        for target, part in extremes.items()
    ]


def parse_extremes(entries: Iterable[Mapping[str, Any]]) -> dict[str, Extremes]:
    """The extremes that `describe_extremes` described."""
    return {
        entry["target"]: Extremes(*(tuple(map(_parse, entry[kind])) for kind in ("worst", "best"))) for entry in entries
    }


def _describe(tile: ScoredTile) -> dict[str, Any]:
    score, region = tile.score, tile.region
    place = {"slide": score.slide, "map": tile.map, "region": [region.x, region.y, region.width, region.height]}
    return {**place, "target": score.target, "counts": [score.both, score.predicted, score.reference]}


def _parse(entry: Mapping[str, Any]) -> ScoredTile:
    score = Score(entry["slide"], entry["target"], *entry["counts"])
    return ScoredTile(entry["map"], Region(*entry["region"]), score)


def _count(score: Score) -> int:
    return score.predicted + score.reference

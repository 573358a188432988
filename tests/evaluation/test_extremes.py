"""The worst and the best tiles against a search over all of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.drawing import TARGETS, cut_labels, draw_slide
from wsiparse.evaluation.evaluate import Prediction, evaluate_slide
from wsiparse.evaluation.extremes import (
    KEPT,
    Extremes,
    ScoredTile,
    choose_side,
    describe_extremes,
    find_extremes,
    parse_extremes,
    pool_extremes,
)
from wsiparse.evaluation.masks import MaskReference
from wsiparse.evaluation.scores import Score
from wsiparse.geometry import Grid, Region
from wsiparse.tiles.plan import Tiling

GRID = draw_slide(75, 61).grid
MEANINGS = {1: TARGETS[0].name, 2: TARGETS[1].name, 9: "Ignore*"}


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([8, 16]))
def test_extremes_are_those_of_a_search_over_the_whole_map(seed: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    labels, values = (
        np.kron(rng.choice(codes, (8, 10)), np.ones((8, 8))).astype(np.uint8)[:61, :75]
        for codes in ([0, 0, 1, 2], [0, 0, 1, 2, 9])
    )
    flips = rng.random((61, 75)) < 0.1
    labels[flips] = rng.integers(0, 3, flips.sum())
    prediction = Prediction(GRID, TARGETS[:2], cut_labels(labels, GRID, 32), None, "0.5um", side)
    found = evaluate_slide("s", prediction, MaskReference(values, MEANINGS, GRID)).extremes
    for code, name in ((1, TARGETS[0].name), (2, TARGETS[1].name)):
        dices = []
        for y in range(0, 61, side):
            for x in range(0, 75, side):
                p, v = labels[y : y + side, x : x + side], values[y : y + side, x : x + side]
                one, other = (p == code) & (v != 9), v == code
                if one.any() or other.any():
                    dices.append(2 * (one & other).sum() / (one.sum() + other.sum()))
        assert [tile.score.dice for tile in found[name].worst] == pytest.approx(sorted(dices)[:KEPT])
        assert [tile.score.dice for tile in found[name].best] == pytest.approx(sorted(dices)[::-1][:KEPT])


def make(x: int, both: int, pixels: int) -> ScoredTile:
    return ScoredTile("1um", Region(x, 0, 9, 9), Score("s", "dark", both, pixels, pixels))


def test_of_equals_the_fullest_comes_first_then_the_earliest() -> None:
    tiles = [make(0, 0, 5), make(1, 0, 9), make(2, 0, 5), make(3, 0, 1), make(4, 3, 3), make(5, 1, 2), make(6, 0, 0)]
    halves = [find_extremes(part) for part in (tiles[:2], tiles[2:])]
    for extremes in (
        find_extremes(tiles),
        sum(halves, Extremes()),
        pool_extremes([{"dark": h} for h in halves])["dark"],
    ):
        assert [tile.region.x for tile in extremes.worst] == [1, 0, 2]
        assert [tile.region.x for tile in extremes.best] == [4, 5, 1]


def test_a_file_keeps_them() -> None:
    extremes = {"dark": find_extremes([make(0, 1, 5), make(1, 2, 9)]), "light": find_extremes([make(4, 0, 9)])}
    assert parse_extremes(json.loads(json.dumps(describe_extremes(extremes)))) == extremes


@pytest.mark.parametrize(("tile", "tiles", "expected"), [(512, 4, 384), (512, 1, 384), (256, 8, 256)])
def test_tiles_cut_a_block_evenly(tile: int, tiles: int, expected: int) -> None:
    tiling = Tiling(Grid(9999, 9999, 0.5), tile, 128 if tile == 512 else 0, tiles)
    side = choose_side(tiling)
    assert tiling.block % side == 0
    assert side >= expected // 2

"""Squares are handed out as soon as all that has a say in them is stored, and once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.conftest import MakeSlide
from tests.tiny import DARK, LIGHT
from wsiparse.geometry import Grid, Region
from wsiparse.maps.canvas import Canvas
from wsiparse.maps.selection import PAPER
from wsiparse.models.load import ModelSpec
from wsiparse.runs import ripening
from wsiparse.runs.config import RunConfig
from wsiparse.runs.judge import foresee_judgement
from wsiparse.runs.manifest import list_slides
from wsiparse.runs.parse import parse_run
from wsiparse.runs.pipeline import BlockRecord
from wsiparse.runs.ripening import Ripening
from wsiparse.runs.rules import Rules
from wsiparse.runs.square_queue import SquareQueue
from wsiparse.runs.squares import PIECES, SquareWork, cut_squares
from wsiparse.runs.work import BlockWork, PassWork, SlideWork
from wsiparse.slides.slide import Slide
from wsiparse.tiles.plan import Block, Tiling, plan_tiles

CORE = 64


def make_work(rows: int, columns: int, hole_um2: float = 0.0, rules: Rules | None = None) -> SlideWork:
    """A slide of so many blocks, whose labels hang on as much around them as such holes reach."""
    grid = Grid(columns * CORE - 20, rows * CORE - 20, 0.5)
    slide = Slide("slide", "slide.svs", (grid,), "manifest")
    tiling = Tiling(grid, CORE, 0, 1)
    canvas = Canvas("/nowhere/slide/parse.zarr/0.5um", "d" * 64, tiling, (replace(DARK, min_hole_um2=hole_um2), LIGHT))
    part = PassWork(plan_tiles(slide, tiling), canvas)
    return SlideWork(slide, "/nowhere/slide", ModelSpec(), (part,), rules or Rules(), 0.0, None, None)


def take(work: SlideWork, block: Block) -> BlockWork:
    return BlockWork(work.slide, work.model, work.passes[0].canvas, block, ())


def list_needed(work: SlideWork, square: SquareWork) -> set[tuple[int, int]]:
    """The blocks that lie in a square or nearer to it than the halo of its labels."""
    halo = max(labels.halo for labels in square.labels)
    seen = [block.region.grow(halo) for block in square.blocks]

    def shows(region: Region) -> bool:
        return any(region.intersect(window).width * region.intersect(window).height > 0 for window in seen)

    return {(b.row, b.column) for b in work.passes[0].plan.blocks if shows(b.region)}


@given(st.integers(1, 7), st.integers(1, 7), st.sampled_from([0.0, 100.0, 900.0]), st.data())
def test_a_square_is_released_with_the_last_block_that_it_needs(
    rows: int, columns: int, hole_um2: float, data: st.DataObject
) -> None:
    work = make_work(rows, columns, hole_um2)
    blocks = data.draw(st.permutations(work.passes[0].plan.blocks))
    before = data.draw(st.integers(0, len(blocks)))
    stored = {(block.row, block.column) for block in blocks[:before]}
    foreseen = foresee_judgement(work)
    assert foreseen
    needs = {square.place: list_needed(work, square) for square in cut_squares(work, foreseen)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ripening, "written_blocks", lambda _: set(stored))
        waiting = Ripening(work, foreseen)
    released = list_places(waiting.start())
    assert released == {place for place, needed in needs.items() if needed <= stored}
    for block in blocks[before:]:
        stored.add((block.row, block.column))
        new = list_places(waiting.add(take(work, block)))
        assert not new & released
        released |= new
        assert released == {place for place, needed in needs.items() if needed <= stored}
    assert released == set(needs)


def list_places(squares: Iterable[SquareWork]) -> set[tuple[int, int]]:
    return {square.place for square in squares}


@pytest.mark.parametrize("rules", [Rules(selection=PAPER), Rules(drop_refused=True)])
def test_labels_that_hang_on_the_judgement_wait_for_it(rules: Rules) -> None:
    work = make_work(2, 2, rules=rules)
    foreseen = foresee_judgement(make_work(2, 2))
    assert foreseen
    assert foresee_judgement(work) is None
    queue = SquareQueue(work)
    for block in work.passes[0].plan.blocks:
        queue.add(take(work, block))
    assert queue.take() is None
    queue.judge(foreseen)
    assert queue.take()
    assert queue.take() is None


@pytest.mark.parametrize(
    ("workers", "recognition", "early"), [(2, "threshold", True), (2, "paper", False), (1, "threshold", False)]
)
def test_squares_are_derived_while_blocks_are_to_come(
    make_slide: MakeSlide, tmp_path: Path, workers: int, recognition: str, early: bool
) -> None:
    done: list[int] = []

    def listen(event: str, slide: str, record: BlockRecord | None) -> None:
        if event == "block":
            done.append(len([*(tmp_path / "out/drawn" / PIECES).rglob("*.done")]))

    settings = {"model": "tests.tiny:build_slow", "tissue": False, "block_tiles": 1, "device": "cpu"}
    config = RunConfig.model_validate(settings | {"workers": workers, "recognition": recognition})
    run = parse_run(list_slides([str(make_slide(600, 600))]), tmp_path / "out", config, listen)
    assert run.state("drawn") == "done"
    assert len(done) > 20
    assert any(done) == early

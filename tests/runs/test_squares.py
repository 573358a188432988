"""Squares of blocks: written where something is found, done once, and the slide the same whoever derived them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wsiparse
from tests.conftest import MakeSlide
from tests.outputs import hash_results
from wsiparse.annotations.batches import Batch
from wsiparse.maps.canvas import list_canvases
from wsiparse.maps.holes import HoleFilling, fill_holes
from wsiparse.maps.labels import list_labels, read_labels
from wsiparse.maps.shards import find_shards, remove_partials
from wsiparse.runs import finish
from wsiparse.runs.judge import Judgement, judge_work
from wsiparse.runs.run import State
from wsiparse.runs.squares import PIECES, derive_square, list_squares, remove_pieces
from wsiparse.runs.work import SlideWork
from wsiparse.slides.slide import Pixels

SETTINGS: dict[str, Any] = {"model": "tests.tiny:build_tone", "tissue": False, "cluster": "serial", "block_tiles": 3}
SIZE = 900
ONE_TARGET = """
[[target]]
name = "dark"
prompt = "dark things"
group = "tone"
color = [200, 0, 0]
mpp = 0.5
threshold = 0.6
min_hole_um2 = 60.0
"""


def draw_one_corner() -> Pixels:
    """A slide of middle grey, which is nothing, with dark stripes in its upper left corner."""
    pixels = np.full((SIZE, SIZE, 3), 120, np.uint8)
    pixels[:150:2, :150] = 20
    return pixels


def test_only_blocks_in_which_something_is_found_have_labels(make_slide: MakeSlide, tmp_path: Path) -> None:
    slide = make_slide(SIZE, SIZE, pixels=draw_one_corner())
    results = wsiparse.run(slide, tmp_path / "out", targets=["dark"], **SETTINGS)
    assert results.run.state("drawn") is State.DONE
    [canvas] = list_canvases(tmp_path / "out/drawn/parse.zarr")
    [image] = list_labels(canvas)
    assert find_shards(image.path / "0") == {(0, 0)}
    assert find_shards(image.path / "1") == {(0, 0)}
    assert len(find_shards(canvas.level_path(0))) == canvas.tiling.block_rows * canvas.tiling.block_columns > 4
    found = np.asarray(results.probability("dark")) >= 153
    assert np.array_equal(read_labels(image, canvas.grid.region), found)
    assert not (tmp_path / "out/drawn" / PIECES).exists()


def test_a_slide_is_the_same_whoever_derived_its_squares(
    make_slide: MakeSlide, tmp_path: Path, monkeypatch: Any
) -> None:
    slide = make_slide(SIZE, SIZE)
    wsiparse.run(slide, tmp_path / "alone", **SETTINGS)
    derived: list[int] = []

    def judge_and_derive(work: SlideWork) -> Judgement:
        judgement = judge_work(work)
        squares = list(list_squares(work, judgement))
        for square in [*squares[::-2], squares[-1]]:
            derive_square(square)
        derived.append(len(squares) - len(list(list_squares(work, judgement))))
        return judgement

    monkeypatch.setattr("wsiparse.runs.pipeline.judge_work", judge_and_derive)
    wsiparse.run(slide, tmp_path / "helped", **SETTINGS)
    assert derived[0] > 3
    assert hash_results(tmp_path / "helped") == hash_results(tmp_path / "alone")


@pytest.mark.parametrize("block_tiles", [1, 3])
def test_small_holes_are_filled_across_the_borders_of_blocks(
    make_slide: MakeSlide, tmp_path: Path, block_tiles: int
) -> None:
    pixels = np.full((SIZE, SIZE, 3), 120, np.uint8)
    pixels[10:-10, 10:-10] = 20
    for row, column in product(range(40, SIZE - 60, 30), repeat=2):
        pixels[row : row + 20, column : column + 4 + column % 17] = 120
    (tmp_path / "targets.toml").write_text(ONE_TARGET)
    settings = SETTINGS | {"block_tiles": block_tiles, "ontology": str(tmp_path / "targets.toml")}
    slide = make_slide(SIZE, SIZE, pixels=pixels)
    results = wsiparse.run(slide, tmp_path / "out", **settings)
    [canvas] = list_canvases(tmp_path / "out/drawn/parse.zarr")
    [image] = list_labels(canvas)
    found = np.asarray(results.probability("dark")) >= 153
    expected = found.astype(np.uint8)
    fill_holes(expected, HoleFilling.of_targets(image.targets, canvas.grid.mpp))
    labels = read_labels(image, canvas.grid.region)
    assert np.array_equal(labels, expected)
    assert 100 < labels.sum() - found.sum() < (~found).sum() / 3
    [area] = results.annotations()["area_um2"]
    assert area == pytest.approx(labels.sum() * canvas.grid.pixel_area_um2)


def test_pieces_that_another_process_takes_away_are_made_again(
    make_slide: MakeSlide, tmp_path: Path, monkeypatch: Any
) -> None:
    slide = make_slide(SIZE, SIZE)
    wsiparse.run(slide, tmp_path / "alone", **SETTINGS)
    taken: list[SlideWork] = []

    def read_then_lose(work: SlideWork, judgement: Judgement) -> Iterator[Batch]:
        if not taken:
            remove_pieces(work)
            taken.append(work)
        return annotate(work, judgement)

    annotate = finish._annotate_slide
    monkeypatch.setattr(finish, "_annotate_slide", read_then_lose)
    wsiparse.run(slide, tmp_path / "disturbed", **SETTINGS)
    assert taken
    assert hash_results(tmp_path / "disturbed") == hash_results(tmp_path / "alone")


def test_pieces_that_a_killed_process_left_half_deleted_go(tmp_path: Path) -> None:
    left = tmp_path / f".{PIECES}.0a1b2c3d.partial/0.5um/gland"
    left.mkdir(parents=True)
    (left / "0.0.safetensors").touch()
    (left / ".0.1.partial").touch()
    remove_partials(tmp_path)
    assert not list(tmp_path.iterdir())

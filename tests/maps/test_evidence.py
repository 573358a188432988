from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsiparse.errors import OutputError
from wsiparse.geometry import Grid
from wsiparse.maps.evidence import Evidence, read_evidence, weigh_block, write_evidence
from wsiparse.maps.tile_table import PassEvidence, TileTable, read_tiles, tabulate_tiles, write_tiles
from wsiparse.maps.validity import BetaFit, judge_tile
from wsiparse.slides.slide import Slide
from wsiparse.tiles.plan import TilePlan, Tiling, plan_tiles
from wsiparse.tiles.reading import TileBatch
from wsiparse.tiles.stitch import cut_tiles

GRID = Grid(53, 41, 0.5)
FITS = {name: (BetaFit(20, 8), BetaFit(4, 4), BetaFit(4, 4), BetaFit(4, 4)) for name in ("a", "b")}


def make_plan(block_tiles: int) -> TilePlan:
    slide = Slide("drawn", "memory", (GRID,), "manifest")
    return plan_tiles(slide, Tiling(GRID, 12, 4, block_tiles))


def weigh(plan: TilePlan, values: NDArray[np.uint8], pixels: NDArray[np.uint8], folder: Path) -> Evidence:
    """Weigh every block of a canvas whose probabilities and pixels are known, and read all of it again."""
    margin = plan.tiling.margin
    padded = np.pad(pixels, ((margin, 30), (margin, 30), (0, 0)))
    for block in plan.blocks:
        tiles = [padded[core.y : core.y + 12, core.x : core.x + 12] for core in block.cores]
        batch = TileBatch(block, np.stack(tiles), unreadable_pixels=block.column)
        evidence = weigh_block(
            cut_tiles(values[:, *block.region.slices], plan.tiling, block), (0, 2), batch, plan.tiling
        )
        write_evidence(folder / "pass", block, evidence, within=folder)
    return read_evidence(folder / "pass", plan.blocks, 2)


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 2**31), st.integers(1, 9))
def test_no_block_size_changes_what_tiles_say_and_sums_are_those_of_the_pixels(
    tmp_path_factory: pytest.TempPathFactory, seed: int, block_tiles: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 256, (3, 41, 53), dtype=np.uint8)
    pixels = rng.integers(0, 256, (41, 53, 3), dtype=np.uint8)
    found = weigh(make_plan(block_tiles), values, pixels, tmp_path_factory.mktemp("some"))
    alone = weigh(make_plan(1), values, pixels, tmp_path_factory.mktemp("one"))
    np.testing.assert_array_equal(found.cores, alone.cores)
    np.testing.assert_array_equal(found.sums, alone.sums)
    inside = values[[0, 2]] >= 128
    np.testing.assert_array_equal(found.sums.sum(0)[:, 0], inside.sum((1, 2)))
    np.testing.assert_array_equal(found.sums.sum(0)[:, 2:], [pixels[mask].sum(0, dtype=int) for mask in inside])
    assert (found.cores[:, 2] * found.cores[:, 3]).sum() == GRID.width * GRID.height


def test_a_block_without_anything_to_tell_leaves_no_file_and_removes_an_older_one(tmp_path: Path) -> None:
    plan = make_plan(2)
    block = plan.blocks[0]
    seen = TileBatch(block, np.zeros((len(block.cores), 12, 12, 3), np.uint8), unreadable_pixels=7)
    tiles = np.zeros((len(block.cores), 3, 12, 12), np.uint8)
    write_evidence(tmp_path, block, weigh_block(tiles, (), seen.without_pixels(), plan.tiling), tmp_path)
    assert read_evidence(tmp_path, plan.blocks, 0).unreadable_pixels == 7
    write_evidence(tmp_path, block, weigh_block(tiles, (), TileBatch(block, seen.pixels), plan.tiling), tmp_path)
    assert not list(tmp_path.iterdir())
    nothing = read_evidence(tmp_path, plan.blocks, 2)
    assert (nothing.sums.shape, nothing.cores.shape, nothing.unreadable_pixels) == ((0, 2, 5), (0, 4), 0)


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_damaged_evidence_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "0.0.npz").write_bytes(content)
    with pytest.raises(OutputError, match=r"0\.0\.npz.*delete the slide"):
        read_evidence(tmp_path, make_plan(2).blocks, 1)


def make_table(tmp_path: Path) -> tuple[TileTable, Evidence]:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 256, (3, 41, 53), dtype=np.uint8)
    values[2, :20] = 0
    evidence = weigh(make_plan(2), values, rng.integers(0, 256, (41, 53, 3), dtype=np.uint8), tmp_path)
    return tabulate_tiles([PassEvidence("0.5um", GRID, ("a", "b"), evidence)], FITS, Grid(106, 82, 0.25)), evidence


def test_the_table_of_tiles_says_what_the_evidence_says(tmp_path: Path) -> None:
    table, evidence = make_table(tmp_path)
    rows = table.rows.to_pydict()
    assert rows["target"] == ["a"] * len(evidence.cores) + ["b"] * len(evidence.cores)
    assert rows["x"][1] == 2 * evidence.cores[1, 0]
    assert rows["area_share"][0] == evidence.sums[0, 0, 0] / 64
    statistics, p_values = table.select("b")
    masked = evidence.sums[:, 1, 0] > 0
    assert 0 < masked.sum() < len(masked)
    assert len(statistics) == masked.sum()
    np.testing.assert_allclose(p_values, judge_tile(statistics, FITS["b"]), rtol=1e-9)
    expected = evidence.sums[masked, 1, 1] / evidence.sums[masked, 1, 0] / 255
    np.testing.assert_allclose(np.array(rows["probability"])[len(masked) :][masked], expected)
    assert len(table.select("nobody")[1]) == 0


def test_the_table_is_read_as_it_was_written_in_the_same_bytes(tmp_path: Path) -> None:
    table, _ = make_table(tmp_path)
    for name in ("one", "two"):
        write_tiles(tmp_path / name, table)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert read_tiles(tmp_path / "one").rows.equals(table.rows)
    assert read_tiles(tmp_path / "one").unreadable_pixels == table.unreadable_pixels > 0
    with pytest.raises(OutputError, match=r"expected the tiles\.parquet"):
        read_tiles(tmp_path / "none")

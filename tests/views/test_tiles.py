from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import MakeSlide
from wsiparse.cli import main
from wsiparse.evaluation.scores import Score
from wsiparse.geometry import Region
from wsiparse.maps.canvas import list_canvases
from wsiparse.maps.labels import list_labels, read_labels
from wsiparse.runs.references import References, ReferenceSource, describe_slide, find_run_references, list_finished
from wsiparse.runs.run import Run, open_run
from wsiparse.slides.open import open_slide
from wsiparse.views.tiles import DRAWN, SIDE, TILES, Extremes, ScoredTile, find_extremes, paint_tile


@pytest.fixture
def parsed(make_slide: MakeSlide, tmp_path: Path) -> tuple[Run, References]:
    """A run whose reference says that the left third is dark and the rest light."""
    make_slide(701, 603, name="one.svs")
    out = tmp_path / "out"
    command = ["run", str(tmp_path / "one.svs"), "-o", str(out), "--cluster", "serial", "--block-tiles", "2"]
    assert main([*command, "--model", "tests.tiny:build_tone"]) == 0
    folder = tmp_path / "labels"
    folder.mkdir()
    values = np.full((603, 701), 2, np.uint8)
    values[:, :233] = 1
    Image.fromarray(values).save(folder / "one.png")
    (folder / "one.json").write_text('{"1": "dark", "2": "light"}')
    run = open_run(out)
    return run, find_run_references(run, ReferenceSource(folder))


def test_extremes_are_those_of_a_search_over_the_whole_map(parsed: tuple[Run, References]) -> None:
    run, references = parsed
    (row,) = list_finished(run)
    image = list_labels(list_canvases(run.folder("one") / "parse.zarr")[0])[0]
    grid, tile, block = image.canvas.grid, image.canvas.tiling.tile, image.canvas.tiling.block
    tile = -(-block // max(round(block / tile), 1))
    labels = read_labels(image, grid.region)
    reference = references.read(describe_slide(run, row), grid.mpp)
    for target, found in find_extremes(run, [row], references).items():
        predicted = labels == [known.name for known in image.targets].index(target) + 1
        drawn = reference.draw(target, grid.region, grid)
        starts = [
            [a + b for a in range(0, size, block) for b in range(0, min(block, size - a), tile)]
            for size in (grid.height, grid.width)
        ]
        dices = []
        for y in starts[0]:
            for x in starts[1]:
                bottom, right = (min(v + tile, v - v % block + block) for v in (y, x))
                p, r = predicted[y:bottom, x:right], drawn[y:bottom, x:right]
                if p.any() or r.any():
                    dices.append(2 * (p & r).sum() / (p.sum() + r.sum()))
        assert [known.score.dice for known in found.worst] == pytest.approx(sorted(dices)[:TILES])
        assert [known.score.dice for known in found.best] == pytest.approx(sorted(dices)[::-1][:TILES])


def test_a_tile_shows_the_reference_as_an_outline_alone(parsed: tuple[Run, References]) -> None:
    run, references = parsed
    (row,) = list_finished(run)
    tile = find_extremes(run, [row], references)["dark"].worst[0]
    reader = open_slide(run.summary("one")["path"], id="one", mpp=run.summary("one")["mpp"])
    painted = paint_tile(reader, tile, references.read(reader.slide, tile.image.canvas.grid.mpp))
    reader.close()
    assert max(painted.size) <= SIDE
    yellow = (np.asarray(painted) == DRAWN).all(axis=2)
    assert yellow.mean() < 0.1, "outlines, not areas"


def test_of_equals_the_fullest_comes_first_then_the_earliest(parsed: tuple[Run, References]) -> None:
    run, references = parsed
    (row,) = list_finished(run)
    image = find_extremes(run, [row], references)["dark"].worst[0].image

    def make(x: int, both: int, pixels: int) -> ScoredTile:
        return ScoredTile(row, image, 1, Region(x, 0, 9, 9), Score("s", "dark", both, pixels, pixels))

    extremes = Extremes()
    for tile in (make(0, 0, 5), make(1, 0, 9), make(2, 0, 5), make(3, 0, 1), make(4, 3, 3), make(5, 1, 2)):
        extremes = extremes.add(tile)
    assert [tile.region.x for tile in extremes.worst] == [1, 0, 2]
    assert [tile.region.x for tile in extremes.best] == [4, 5, 1]

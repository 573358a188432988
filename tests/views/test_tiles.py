from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import MakeSlide
from wsiparse.cli import main
from wsiparse.evaluation.extremes import Extremes
from wsiparse.maps.labels import read_labels
from wsiparse.runs.evaluate import evaluate_run
from wsiparse.runs.references import References, ReferenceSource, find_run_references
from wsiparse.runs.run import Run, open_run
from wsiparse.slides.open import open_slide
from wsiparse.views.tiles import DRAWN, SIDE, draw_extremes, find_labels, paint_tile


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


@pytest.fixture
def extremes(parsed: tuple[Run, References], tmp_path: Path) -> Mapping[str, Extremes]:
    return evaluate_run(parsed[0], tmp_path / "labels").extremes


def test_a_tile_is_found_again_in_its_label_map(
    parsed: tuple[Run, References], extremes: Mapping[str, Extremes]
) -> None:
    assert list(extremes) == ["dark", "light"]
    for code, (target, found) in enumerate(extremes.items(), start=1):
        for tile in (*found.worst, *found.best):
            labels = read_labels(find_labels(parsed[0], tile), tile.region)
            predicted, columns = labels == code, np.arange(tile.region.x, tile.region.right)
            drawn = np.broadcast_to((columns < 233) == (target == "dark"), labels.shape)
            assert tile.score.predicted == predicted.sum()
            assert tile.score.both == (predicted & drawn).sum()
            assert tile.score.reference == drawn.sum()


def test_a_tile_shows_the_reference_as_an_outline_alone(
    parsed: tuple[Run, References], extremes: Mapping[str, Extremes]
) -> None:
    run, references = parsed
    tile = extremes["dark"].worst[0]
    reader = open_slide(run.summary("one")["path"], mpp=run.summary("one")["mpp"])
    image = find_labels(run, tile)
    painted = paint_tile(reader, tile, image, references.read(reader.slide, image.canvas.grid.mpp))
    reader.close()
    assert max(painted.size) <= SIDE
    yellow = (np.asarray(painted) == DRAWN).all(axis=2)
    assert yellow.mean() < 0.1, "outlines, not areas"


def test_tiles_of_a_slide_that_is_gone_are_said_to_be(
    parsed: tuple[Run, References], extremes: Mapping[str, Extremes], tmp_path: Path
) -> None:
    (tmp_path / "one.svs").unlink()
    assert "one.svs" in draw_extremes(parsed[0], extremes, parsed[1])


def test_tiles_of_maps_or_a_reference_that_are_gone_are_said_to_be(
    parsed: tuple[Run, References], extremes: Mapping[str, Extremes]
) -> None:
    run, references = parsed
    assert "one: its reference is gone" in draw_extremes(run, extremes, References({}, references.names))
    (labels,) = run.folder("one").glob("parse.zarr/*/labels/tone")
    shutil.rmtree(labels)
    assert "no labels of dark there" in draw_extremes(run, extremes, references)
    shutil.rmtree(run.folder("one") / "parse.zarr")
    assert "no maps there" in draw_extremes(run, extremes, references)


def test_tiles_of_a_slide_that_is_to_be_parsed_anew_are_left_out(
    parsed: tuple[Run, References], extremes: Mapping[str, Extremes]
) -> None:
    shutil.rmtree(parsed[0].folder("one"))
    assert draw_extremes(parsed[0], extremes, parsed[1]) == ""
    assert main(["report", str(parsed[0].path)]) == 0

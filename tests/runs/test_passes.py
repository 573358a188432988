from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wsiparse
from tests.conftest import MakeSlide
from tests.outputs import hash_results
from tests.tiny import DARK, LIGHT, RED, ToneModel
from wsiparse.errors import ModelError
from wsiparse.maps.canvas import list_canvases
from wsiparse.models.load import ModelSpec, load_model
from wsiparse.models.tile_sizes import SLACK, TileSizes, measure_tiles
from wsiparse.ontology import Target, load_ontology
from wsiparse.runs.config import RunConfig
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.parse import take_order
from wsiparse.runs.passes import group_passes
from wsiparse.runs.pipeline import SerialEngine
from wsiparse.runs.planning import plan_slide

TILES = TileSizes(256, 1000, 32, 2)
NARROW = dataclasses.replace(LIGHT, field_um=64.0)


def test_targets_of_one_scale_and_tile_share_a_pass_coarsest_first() -> None:
    passes = group_passes((DARK, LIGHT, RED), TILES)
    assert [(part.name, part.tile, part.targets) for part in passes] == [
        ("1um", 256, (RED,)),
        ("0.5um", 256, (DARK, LIGHT)),
    ]


def test_passes_of_one_scale_are_told_apart_by_their_tile() -> None:
    passes = group_passes((DARK, NARROW, RED), TILES)
    assert [(part.name, part.tile) for part in passes] == [("1um", 256), ("0.5um-256px", 256), ("0.5um-128px", 128)]
    same = dataclasses.replace(LIGHT, field_um=130.0)  # 260 pixels are nearest to the model's own 256
    assert [part.name for part in group_passes((DARK, same), TILES)] == ["0.5um"]


def test_the_published_leaves_are_shown_as_in_training() -> None:
    passes = group_passes(load_ontology("pathology").targets, TILES)
    assert [(part.name, part.tile) for part in passes] == [("0.62um", 768), ("0.25um", 256)]
    np.testing.assert_allclose(768 * 0.62, 480, rtol=0.01)


@pytest.mark.parametrize(
    ("field", "tiles", "message"),
    [
        (20.0, TILES, r"20 µm at 0\.5 µm per pixel are tiles of 40 pixels, and the model takes multiples of 32"),
        (64.0, TileSizes(84, 1000), r"tiles of 128 pixels, and the model takes 84; change field_um or mpp"),
    ],
)
def test_a_field_that_no_tile_comes_near_is_refused(field: float, tiles: TileSizes, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        group_passes((dataclasses.replace(LIGHT, field_um=field),), tiles)


@given(st.floats(1, 1e5), st.integers(1, 64), st.integers(1, 2000))
def test_a_tile_fits_the_stride_and_the_field(pixels: float, stride: int, own: int) -> None:
    side = TileSizes(own, 0, stride).fit(pixels)
    if side is None:
        assert pixels < 10 * stride  # larger ones always come near enough
    else:
        assert side % stride == 0
        assert abs(side / pixels - 1) <= SLACK


def test_memory_follows_the_tile_of_the_shipped_model() -> None:
    tiles = measure_tiles(load_model(ModelSpec(device="cpu")))
    assert tiles.count_bytes(tiles.own) == tiles.own_bytes
    assert tiles.count_bytes(2 * tiles.own) == 4 * tiles.own_bytes


@dataclasses.dataclass(frozen=True)
class ElasticTone(ToneModel):
    """Takes tiles of any side that is a multiple of four."""

    targets: tuple[Target, ...] = (DARK, dataclasses.replace(LIGHT, field_um=24.0), RED)
    stride: int = 4
    pixel_bytes: int = 16


def build_elastic(spec: ModelSpec) -> ElasticTone:
    return ElasticTone()


def test_a_run_of_passes_with_their_own_tiles_equals_itself_on_a_cluster(make_slide: MakeSlide, tmp_path: Path) -> None:
    slide = make_slide(300, 220)
    settings: dict[str, Any] = {"model": "tests.runs.test_passes:build_elastic", "tissue": False}
    results, _ = (wsiparse.run(slide, tmp_path / name, cluster=name, **settings) for name in ("serial", "local"))
    canvases = {canvas.targets[0].name: canvas for canvas in list_canvases(tmp_path / "serial/drawn/parse.zarr")}
    assert {name: (Path(c.path).name, c.tiling.tile, c.tiling.overlap) for name, c in canvases.items()} == {
        "red": ("1um", 84, 20),
        "dark": ("0.5um-84px", 84, 20),
        "light": ("0.5um-48px", 48, 12),
    }
    dark, light = (np.asarray(results.probability(name)) for name in ("dark", "light"))
    np.testing.assert_array_equal(255 - dark, light)  # each pixel is answered by itself, whatever the tile
    assert hash_results(tmp_path / "serial") == hash_results(tmp_path / "local")


@pytest.mark.parametrize(
    ("size", "field", "expected"),
    [
        ((200, 150), 0.0, ((160, 224), 0, 1)),
        ((256, 90), 0.0, ((96, 256), 0, 1)),
        ((257, 90), 0.0, ((160, 256), 64, 2)),
        ((200, 150), 128.0, ((256, 256), 64, 2)),  # its field of view was asked for
    ],
)
def test_a_canvas_smaller_than_a_tile_is_one_tile_as_small_as_the_model_takes(
    make_slide: MakeSlide, tmp_path: Path, size: tuple[int, int], field: float, expected: tuple[object, int, int]
) -> None:
    config = RunConfig(model="wsiparse-open-1", tissue=False, cluster="serial", targets=("nuclei",))
    order, _ = take_order(SerialEngine(), config, tmp_path / "out")
    nuclei = dataclasses.replace(order.targets[0], mpp=0.5, field_um=field)
    order = dataclasses.replace(order, tiles=TILES, targets=(nuclei,))
    row = ManifestRow(id="drawn", slide=str(make_slide(*size)))
    ((_, plan),) = plan_slide(order, row).passes
    assert (plan.tiling.shape, plan.tiling.overlap, plan.tiles) == expected

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.drawing import draw_tissue
from wsiparse.models.eight_views import average_views
from wsiparse.models.execution import ModelOptions
from wsiparse.models.load import ModelSpec, load_model
from wsiparse.models.model import Model, Probabilities


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(ModelSpec(device="cpu", options=ModelOptions(views=8)))


@pytest.fixture(scope="module")
def tiles() -> NDArray[np.uint8]:
    pixels = draw_tissue(192, 128)
    return np.stack([pixels[:96, :128], pixels[32:, 64:]])  # higher than wide, to tell turned from not


def shade(pixels: NDArray[np.uint8]) -> Probabilities:
    """Two maps that differ with every turn and mirror: a pixel's own red, and the green of its left neighbour."""
    return np.stack([pixels[..., 0], np.roll(pixels[..., 1], 1, 2)], 1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 6))
def test_the_mean_is_that_of_all_four_neighbours(seed: int, height: int, width: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), np.uint8)
    green = pixels[..., 1].astype(int)
    neighbours = sum(np.roll(green, step, axis) for axis in (1, 2) for step in (1, -1))
    found = average_views(shade, pixels, 8)
    assert np.array_equal(found[:, 0], pixels[..., 0])
    assert np.array_equal(found[:, 1], (2 * neighbours + 4) // 8)


def test_a_turned_or_mirrored_tile_has_its_map_turned_or_mirrored(model: Model, tiles: NDArray[np.uint8]) -> None:
    expected = model.predict(tiles, model.targets)
    for turns, mirror in ((1, 1), (2, -1), (3, 1)):
        changed = np.ascontiguousarray(np.rot90(tiles, turns, (1, 2))[:, :, ::mirror])
        found = model.predict(changed, model.targets)
        assert np.array_equal(np.rot90(found[..., ::mirror], -turns, (2, 3)), expected)


def test_the_views_agree_with_an_average_by_hand(model: Model, tiles: NDArray[np.uint8]) -> None:
    once = load_model(ModelSpec(device="cpu"))
    by_hand = np.stack([find_by_views(once, tile) for tile in tiles])
    assert np.abs(model.predict(tiles, model.targets) - by_hand).max() <= 0.5 + 1e-9


def find_by_views(model: Model, tile: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The mean [K, H, W] over a tile turned and mirrored in all eight ways, one after another, in 0..255."""
    views = [(turns, mirror) for turns in range(4) for mirror in (1, -1)]
    turned = (np.ascontiguousarray(np.rot90(tile, turns)[:, ::mirror]) for turns, mirror in views)
    found = [model.predict(view[None], model.targets)[0] for view in turned]
    back = [np.rot90(one[..., ::mirror], -turns, (1, 2)) for one, (turns, mirror) in zip(found, views, strict=True)]
    return np.asarray(np.mean(back, 0))


def test_one_view_is_the_answer_itself(tiles: NDArray[np.uint8]) -> None:
    assert np.array_equal(average_views(shade, tiles, 1), shade(tiles))
    assert not np.array_equal(average_views(shade, tiles, 8), shade(tiles))

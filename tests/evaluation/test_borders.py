from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Polygon, box

from tests.evaluation.drawing import TARGETS, draw_slide, measure_mask_hd95
from wsiparse.annotations.annotation import Annotation
from wsiparse.evaluation.borders import gather_border, measure_slide_hd95
from wsiparse.evaluation.distances import find_border
from wsiparse.evaluation.masks import MaskReference
from wsiparse.evaluation.outlines import OutlineReference
from wsiparse.geometry import Grid, Region
from wsiparse.maps.canvas import create_canvas
from wsiparse.maps.labels import LabelImage, create_labels, write_labels
from wsiparse.tiles.plan import Block, Tiling

SLIDE = draw_slide(200, 150, 1.0)
GRID = SLIDE.grid


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(3, 40))
def test_the_border_of_a_slide_does_not_know_its_blocks(seed: int, side: int) -> None:
    mask = np.random.default_rng(seed).random((29, 37)) < 0.7
    grid = Grid(37, 29, 1.0)
    whole = find_border(np.pad(mask, 1), grid.region)
    points = gather_border(lambda region: mask[region.slices], grid, side)
    assert sorted(map(tuple, points.tolist())) == sorted(map(tuple, whole.tolist()))


@pytest.fixture
def image(tmp_path: Path) -> LabelImage:
    """Gland in x 40..100, y 30..90, across four blocks; nothing else was written."""
    labels = np.zeros((192, 192), np.uint8)
    labels[30:90, 40:100] = 1
    tiling = Tiling(GRID, 32, 0, 2)
    image = create_labels(create_canvas(tmp_path / "canvas", "d" * 64, tiling, TARGETS), "tissue")
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        region = Region(column * 64, row * 64, 64, 64)
        write_labels(image, Block(row, column, region, ()), labels[region.slices])
    return image


def of(*drawn: tuple[str, Polygon]) -> OutlineReference:
    return OutlineReference(((name, Annotation(name, polygon, 0)) for name, polygon in drawn), GRID)


def test_a_region_shifted_by_five_pixels_is_five_pixels_away(image: LabelImage) -> None:
    assert measure_slide_hd95(image, "gland", of(("gland", box(40, 30, 100, 90)))) == 0
    assert measure_slide_hd95(image, "gland", of(("gland", box(45, 30, 105, 90)))) == 5


def test_a_slide_gives_what_whole_masks_give(image: LabelImage) -> None:
    values = np.zeros((150, 200), np.uint8)
    values[100:150, 150:200] = 1  # touches the slide's edge, where a border ends
    reference = MaskReference(values, {1: "gland"}, GRID)
    predicted = np.zeros((150, 200), np.bool_)
    predicted[30:90, 40:100] = True
    assert measure_slide_hd95(image, "gland", reference) == measure_mask_hd95(predicted, values == 1, 1.0)


def test_what_is_ignored_belongs_to_neither(image: LabelImage) -> None:
    drawn = ("gland", box(40, 30, 100, 90)), ("gland", box(150, 120, 160, 130))
    assert measure_slide_hd95(image, "gland", of(*drawn)) > 0
    assert measure_slide_hd95(image, "gland", of(*drawn, ("Ignore*", box(140, 100, 200, 150)))) == 0


def test_without_a_pixel_on_one_side_there_is_no_distance(image: LabelImage) -> None:
    assert np.isnan(measure_slide_hd95(image, "gland", of()))
    assert np.isnan(measure_slide_hd95(image, "tumour", of(("tumour", box(1, 1, 9, 9)))))

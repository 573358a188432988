from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.maps.drawing import DIGEST, GLAND, NUCLEUS, TARGETS, TUMOUR, cut, draw_maps, draw_tiling, list_blocks
from wsiparse.errors import OutputError
from wsiparse.geometry import Region
from wsiparse.maps.canvas import Canvas, create_canvas, read_attributes
from wsiparse.maps.labels import (
    LabelImage,
    build_label_pyramid,
    create_labels,
    list_labels,
    read_labels,
    write_labels,
)
from wsiparse.maps.metadata import list_levels
from wsiparse.maps.pyramid import pool_mode
from wsiparse.maps.shards import find_shards


@pytest.fixture
def canvas(tmp_path: Path) -> Canvas:
    return create_canvas(tmp_path / "0.5um", DIGEST, draw_tiling(1501, 1103), TARGETS)


def test_labels_are_written_block_by_block_and_pooled_by_the_commonest_code(canvas: Canvas) -> None:
    image = create_labels(canvas, "tissue")
    expected = draw_maps(canvas.grid, 1)[0] % np.uint8(3)
    for block in list_blocks(canvas.tiling):
        write_labels(image, block, cut(expected, block.region))
    build_label_pyramid(image)
    assert len(find_shards(image.path / "0")) == canvas.tiling.block_rows * canvas.tiling.block_columns
    for level, grid in enumerate(list_levels(canvas.grid)):
        assert np.array_equal(read_labels(image, grid.region, level), expected)
        expected = pool_mode(expected)


def test_codes_count_the_targets_of_the_group_only(canvas: Canvas) -> None:
    assert create_labels(canvas, "tissue").targets == (GLAND, TUMOUR)
    assert create_labels(canvas, "cells/nuclei").targets == (NUCLEUS,)


def test_a_group_is_one_folder_whatever_its_name(canvas: Canvas) -> None:
    images = [create_labels(canvas, group) for group in ("tissue", "cells/nuclei")]
    assert [image.path.name for image in images] == ["tissue", "cells%2Fnuclei"]
    assert read_attributes(Path(canvas.path, "labels"))["ome"]["labels"] == ["tissue", "cells%2Fnuclei"]


@pytest.mark.parametrize(("group", "name"), [("..", "group .."), ("__x", "group __x"), ("cell type", "cell type")])
def test_names_that_zarr_keeps_for_itself_are_not_used(canvas: Canvas, group: str, name: str) -> None:
    assert LabelImage(replace(canvas, targets=(replace(GLAND, group=group),)), group).path.name == name


def test_labels_are_taken_up_with_their_blocks_and_listed_once(canvas: Canvas) -> None:
    image = create_labels(canvas, "tissue")
    block = next(list_blocks(canvas.tiling))
    write_labels(image, block, np.full((256, 256), 2, np.uint8))
    assert create_labels(canvas, "tissue") == image
    assert find_shards(image.path / "0") == {(0, 0)}
    assert read_labels(image, Region(250, 0, 8, 1)).tolist() == [[2] * 6 + [0] * 2]
    assert read_attributes(Path(canvas.path, "labels"))["ome"]["labels"] == ["tissue"]


def test_the_label_images_of_a_canvas_are_found(canvas: Canvas) -> None:
    assert list_labels(canvas) == ()
    image = create_labels(canvas, "cells/nuclei")
    assert list_labels(canvas) == (image,)
    assert pickle.loads(pickle.dumps(image)) == image


def test_a_group_without_targets_is_refused(canvas: Canvas) -> None:
    with pytest.raises(OutputError, match=r"no target of group 'stroma'; expected one of \['cells/nuclei', 'tissue'\]"):
        create_labels(canvas, "stroma")


def test_many_targets_take_two_bytes(tmp_path: Path) -> None:
    targets = tuple(replace(GLAND, name=f"target {n}") for n in range(300))
    canvas = create_canvas(tmp_path / "pass", DIGEST, draw_tiling(40, 30), targets)
    image = create_labels(canvas, "tissue")
    codes = np.arange(1200, dtype=np.uint16).reshape(30, 40) % np.uint16(301)
    write_labels(image, next(list_blocks(canvas.tiling)), codes)
    assert np.array_equal(read_labels(image, canvas.grid.region), codes)

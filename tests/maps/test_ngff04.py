"""OME-Zarr 0.4 as others see it: ome-zarr-models checks the metadata, the ome-zarr reader the pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v04 import Image, ImageLabel, Labels

from tests.maps.drawing import DIGEST, TARGETS, draw_maps, draw_tiling, list_blocks, write_canvas
from wsiparse.errors import InputError, OutputError
from wsiparse.maps.canvas import Canvas, create_canvas, read_region
from wsiparse.maps.labels import LabelImage, build_label_pyramid, create_labels, read_labels, write_labels
from wsiparse.maps.metadata import list_levels
from wsiparse.maps.ngff04 import export_ngff04
from wsiparse.maps.pyramid import build_pyramid


@pytest.fixture(scope="module")
def canvas(tmp_path_factory: pytest.TempPathFactory) -> Canvas:
    """A finished pass of 1501 × 1103 pixels, three levels, the lower part without anything."""
    canvas = create_canvas(tmp_path_factory.mktemp("run") / "0.5um", DIGEST, draw_tiling(1501, 1103), TARGETS)
    values = draw_maps(canvas.grid, 3)
    values[:, 1024:] = 0
    write_canvas(canvas, values)
    build_pyramid(canvas)
    for group in ("tissue", "cells/nuclei"):
        image = create_labels(canvas, group)
        for block in list_blocks(canvas.tiling):
            write_labels(image, block, values[(0, *block.region.slices)] % np.uint8(len(image.targets) + 1))
        build_label_pyramid(image)
    return canvas


def test_every_group_is_valid_ome_zarr_0_4(canvas: Canvas, tmp_path: Path) -> None:
    export_ngff04(canvas, tmp_path / "a.ome.zarr")
    image = Image.from_zarr(zarr.open_group(tmp_path / "a.ome.zarr", mode="r", zarr_format=2))
    assert [axis.name for axis in image.attributes.multiscales[0].axes] == ["c", "y", "x"]
    folder = tmp_path / "a.ome.zarr" / "labels"
    assert Labels.from_zarr(zarr.open_group(folder, mode="r")).attributes.labels == ["tissue", "cells%2Fnuclei"]
    label = ImageLabel.from_zarr(zarr.open_group(folder / "tissue", mode="r"))
    colors = label.attributes.image_label.colors
    assert colors is not None
    assert [color.rgba for color in colors] == [(255, 0, 128, 255), (10, 20, 30, 255)]


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_ome_zarr_reader_finds_the_same_pixels(canvas: Canvas, tmp_path: Path, level: int) -> None:
    export_ngff04(canvas, tmp_path / "a.ome.zarr", level)
    location = parse_url(str(tmp_path / "a.ome.zarr"))
    assert location is not None
    assert location.version == "0.4"
    image, *others = Reader(location)()
    labels = [node for node in others if "color" in node.metadata]
    levels = list_levels(canvas.grid)[level:]
    assert len(image.data) == len(levels)
    for n, grid in enumerate(levels):
        assert np.array_equal(np.asarray(image.data[n]), read_region(canvas, grid.region, level + n))
        for node, group in zip(labels, ("tissue", "cells/nuclei"), strict=True):
            expected = read_labels(LabelImage(canvas, group), grid.region, level + n)
            assert np.array_equal(np.asarray(node.data[n]), expected)
    assert image.metadata["channel_names"] == ["gland", "tumour", "nucleus"]


def test_the_chosen_level_becomes_the_finest(canvas: Canvas, tmp_path: Path) -> None:
    export_ngff04(canvas, tmp_path / "a.ome.zarr", 1)
    (multiscale,) = json.loads((tmp_path / "a.ome.zarr" / ".zattrs").read_text())["multiscales"]
    assert (multiscale["version"], multiscale["name"]) == ("0.4", "0.5um")
    assert [dataset["coordinateTransformations"] for dataset in multiscale["datasets"]] == [
        [{"type": "scale", "scale": [1, 1, 1]}, {"type": "translation", "translation": [0, 0, 0]}],
        [{"type": "scale", "scale": [1, 2, 2]}, {"type": "translation", "translation": [0, 0.5, 0.5]}],
    ]


def test_old_readers_find_what_they_know(canvas: Canvas, tmp_path: Path) -> None:
    export_ngff04(canvas, tmp_path / "a.ome.zarr")
    array = json.loads((tmp_path / "a.ome.zarr" / "0" / ".zarray").read_text())
    assert (array["zarr_format"], array["dtype"], array["chunks"]) == (2, "|u1", [1, 1024, 1024])
    assert (array["dimension_separator"], array["compressor"]["id"], array["filters"]) == ("/", "zlib", None)
    chunks = {str(path.relative_to(tmp_path)) for path in (tmp_path / "a.ome.zarr" / "0" / "0").rglob("*/*")}
    assert chunks == {"a.ome.zarr/0/0/0/0", "a.ome.zarr/0/0/0/1"}  # the row below is empty, so not there
    assert not list(tmp_path.rglob("zarr.json"))


def test_a_level_that_is_not_there_is_refused(canvas: Canvas, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"level 3: .* has levels 0 to 2"):
        export_ngff04(canvas, tmp_path / "a.ome.zarr", 3)


def test_an_export_is_replaced_and_nothing_else(canvas: Canvas, tmp_path: Path) -> None:
    export_ngff04(canvas, tmp_path / "a.ome.zarr")
    export_ngff04(canvas, tmp_path / "a.ome.zarr", 2)
    assert not (tmp_path / "a.ome.zarr" / "1").exists()
    (tmp_path / "a.ome.zarr" / ".zattrs").write_text("{}")
    with pytest.raises(OutputError, match="did not write"):
        export_ngff04(canvas, tmp_path / "a.ome.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["a.ome.zarr"]

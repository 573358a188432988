"""What others make of the files: ome-zarr-models checks the metadata, the ome-zarr reader the pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models.v05 import Image, ImageLabel, Labels
from ome_zarr_models.v05.bioformats2raw import BioFormats2Raw

from tests.maps.drawing import DIGEST, TARGETS, draw_tiling, list_blocks, write_canvas
from wsiparse.maps.canvas import Canvas, create_canvas, create_store, read_region
from wsiparse.maps.labels import build_label_pyramid, create_labels, write_labels
from wsiparse.maps.metadata import list_levels
from wsiparse.maps.pyramid import build_pyramid


@pytest.fixture
def canvas(tmp_path: Path) -> Canvas:
    """A store of one finished pass with labels: 1501 × 1103 pixels of 0.5 µm, a bright square, three levels."""
    create_store(tmp_path / "parse.zarr", ["0.5um"])
    canvas = create_canvas(tmp_path / "parse.zarr" / "0.5um", DIGEST, draw_tiling(1501, 1103), TARGETS)
    values = np.zeros((3, 1103, 1501), np.uint8)
    values[:, 400:440, 1200:1232] = 255
    write_canvas(canvas, values)
    build_pyramid(canvas)
    for group in ("tissue", "cells/nuclei"):
        image = create_labels(canvas, group)
        for block in list_blocks(canvas.tiling):
            write_labels(image, block, values[(0, *block.region.slices)] // np.uint8(255))
        build_label_pyramid(image)
    return canvas


def attributes(path: Path) -> dict[str, Any]:
    return dict(zarr.open_group(path, mode="r").attrs)


def test_every_group_is_valid_ome_zarr(canvas: Canvas) -> None:
    path = Path(canvas.path)
    image = Image.from_zarr(zarr.open_group(path, mode="r"))
    assert [axis.name for axis in image.ome_attributes.multiscales[0].axes] == ["c", "y", "x"]
    Labels.from_zarr(zarr.open_group(path / "labels", mode="r"))
    for group in ("tissue", "cells%2Fnuclei"):
        ImageLabel.from_zarr(zarr.open_group(path / "labels" / group, mode="r"))
    BioFormats2Raw.from_zarr(zarr.open_group(path.parent, mode="r"))
    assert attributes(path.parent / "OME")["ome"]["series"] == ["0.5um"]


def test_an_unfinished_canvas_is_valid_too(tmp_path: Path) -> None:
    canvas = create_canvas(tmp_path / "pass", DIGEST, draw_tiling(), TARGETS)
    create_labels(canvas, "tissue")
    Image.from_zarr(zarr.open_group(canvas.path, mode="r"))
    ImageLabel.from_zarr(zarr.open_group(Path(canvas.path, "labels", "tissue"), mode="r"))


def test_the_ome_zarr_reader_finds_all_levels_and_labels(canvas: Canvas) -> None:
    location = parse_url(canvas.path)
    assert location is not None
    nodes = list(Reader(location)())
    image = nodes[0]
    assert [array.shape for array in image.data] == [(3, 1103, 1501), (3, 552, 751), (3, 276, 376)]
    for level, grid in enumerate(list_levels(canvas.grid)):
        assert np.array_equal(np.asarray(image.data[level]), read_region(canvas, grid.region, level))
    assert image.metadata["channel_names"] == ["gland", "tumour", "nucleus"]
    labels = [node for node in nodes if "color" in node.metadata and node is not image]
    assert len(labels) == 2
    assert np.asarray(labels[0].data[0])[420, 1210] == 1


def test_the_metadata_says_what_the_channels_are(canvas: Canvas) -> None:
    found = attributes(Path(canvas.path))
    assert found["ome"]["omero"]["channels"][0] == {
        "label": "gland",
        "color": "FF0080",
        "window": {"min": 0, "max": 255, "start": 0, "end": 255},
        "active": True,
    }
    assert found["ome"]["multiscales"][0]["axes"][1] == {"name": "y", "type": "space", "unit": "micrometer"}
    assert found["wsiparse"]["scale"] == 1 / 255
    assert found["wsiparse"]["plan_digest"] == DIGEST
    assert zarr.open_array(canvas.level_path(0), mode="r").metadata.to_dict()["dimension_names"] == ("c", "y", "x")


def test_the_label_metadata_names_its_targets_and_its_image(canvas: Canvas) -> None:
    path = Path(canvas.path, "labels", "tissue")
    label = attributes(path)["ome"]["image-label"]
    assert label["properties"] == [{"label-value": 1, "target": "gland"}, {"label-value": 2, "target": "tumour"}]
    assert label["colors"][0] == {"label-value": 1, "rgba": [255, 0, 128, 255]}
    assert (path / label["source"]["image"]).resolve() == Path(canvas.path)


def place(dataset: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    scale, translation = dataset["coordinateTransformations"]
    return np.array(scale["scale"][-2:]), np.array(translation["translation"][-2:])


@pytest.mark.parametrize("group", ["", "labels/tissue"])
def test_a_landmark_lies_at_the_same_micrometre_on_every_level(canvas: Canvas, group: str) -> None:
    path = Path(canvas.path, group)
    centres = []
    for dataset in attributes(path)["ome"]["multiscales"][0]["datasets"]:
        values = np.asarray(zarr.open_array(path / dataset["path"], mode="r")[:])
        pixels = np.argwhere(values.reshape(-1, *values.shape[-2:])[0])
        scale, translation = place(dataset)
        centres.append(pixels.mean(axis=0) * scale + translation)
    # The square covers pixels 400 … 439 and 1200 … 1231 of 0.5 µm; OME-Zarr measures from the centre of pixel 0.
    for centre in centres:
        assert centre == pytest.approx([419.5 * 0.5, 1215.5 * 0.5], abs=1e-9)


def test_scale_and_translation_double_with_the_level(canvas: Canvas) -> None:
    datasets = attributes(Path(canvas.path))["ome"]["multiscales"][0]["datasets"]
    assert [dataset["coordinateTransformations"] for dataset in datasets] == [
        [
            {"type": "scale", "scale": [1.0, 0.5 * 2**n, 0.5 * 2**n]},
            {"type": "translation", "translation": [0.0, (2**n - 1) / 2 * 0.5, (2**n - 1) / 2 * 0.5]},
        ]
        for n in range(3)
    ]

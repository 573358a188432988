"""OME-TIFF as tifffile and OpenSlide see it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import openslide
import pytest
import tifffile

from tests.maps.drawing import DIGEST, GLAND, TARGETS, draw_maps, draw_tiling, list_blocks
from tests.peers import ask_peer
from wsiparse.errors import InputError
from wsiparse.maps.canvas import create_canvas
from wsiparse.maps.labels import LabelImage, build_label_pyramid, create_labels, read_labels, write_labels
from wsiparse.maps.metadata import list_levels
from wsiparse.maps.ome_tiff import export_ome_tiff
from wsiparse.ontology import Target


def draw_labels(path: Path, size: tuple[int, int], targets: tuple[Target, ...] = TARGETS) -> LabelImage:
    image = create_labels(create_canvas(path, DIGEST, draw_tiling(*size), targets), "tissue")
    maps = draw_maps(image.canvas.grid, 1)[0].astype(image.dtype) * len(image.targets) // 255
    for block in list_blocks(image.canvas.tiling):
        write_labels(image, block, maps[block.region.slices].astype(image.dtype))
    build_label_pyramid(image)
    return image


@pytest.fixture
def image(tmp_path: Path) -> LabelImage:
    return draw_labels(tmp_path / "0.5um", (1501, 1103))


@pytest.mark.parametrize("level", [0, 1])
def test_tifffile_reads_every_level_back(image: LabelImage, tmp_path: Path, level: int) -> None:
    export_ome_tiff(image, tmp_path / "a.ome.tiff", level)
    with tifffile.TiffFile(tmp_path / "a.ome.tiff") as file:
        assert file.is_ome
        (series,) = file.series
        grids = list_levels(image.canvas.grid)[level:]
        assert len(series.levels) == len(grids)
        for n, (stored, grid) in enumerate(zip(series.levels, grids, strict=True)):
            assert np.array_equal(stored.asarray(), read_labels(image, grid.region, level + n))
            assert stored.keyframe.is_tiled
            assert stored.keyframe.get_resolution("MICROMETER") == pytest.approx((1 / grid.mpp, 1 / grid.mpp))


def test_the_xml_states_pixel_size_and_targets(image: LabelImage, tmp_path: Path) -> None:
    export_ome_tiff(image, tmp_path / "a.ome.tiff")
    with tifffile.TiffFile(tmp_path / "a.ome.tiff") as file:
        root = ElementTree.fromstring(file.ome_metadata or "")
    space = {"ome": "http://www.openmicroscopy.org/Schemas/OME/2016-06"}
    pixels = root.find(".//ome:Pixels", space)
    assert pixels is not None
    assert {name: pixels.get(name) for name in ("PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeXUnit", "Type")} == {
        "PhysicalSizeX": "0.5",
        "PhysicalSizeY": "0.5",
        "PhysicalSizeXUnit": "µm",
        "Type": "uint8",
    }
    codes = {entry.get("K"): entry.text for entry in root.findall(".//ome:M", space)}
    assert codes == {"1": "gland", "2": "tumour"}


def test_openslide_opens_the_finest_level(image: LabelImage, tmp_path: Path) -> None:
    export_ome_tiff(image, tmp_path / "a.ome.tiff")
    with openslide.OpenSlide(tmp_path / "a.ome.tiff") as slide:
        assert slide.dimensions == (1501, 1103)
        assert float(slide.properties[openslide.PROPERTY_NAME_MPP_X]) == pytest.approx(0.5)
        pixels = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., 0]
    assert np.array_equal(pixels, read_labels(image, image.canvas.grid.region))


def test_many_targets_and_a_map_smaller_than_a_tile(tmp_path: Path) -> None:
    targets = tuple(replace(GLAND, name=f"target {n}") for n in range(300))
    image = draw_labels(tmp_path / "pass", (97, 61), targets)
    export_ome_tiff(image, tmp_path / "a.ome.tiff")
    codes = tifffile.imread(tmp_path / "a.ome.tiff")
    assert codes.dtype == np.uint16
    assert codes.max() > 255
    assert np.array_equal(codes, read_labels(image, image.canvas.grid.region))


def test_equal_maps_are_equal_bytes(image: LabelImage, tmp_path: Path) -> None:
    paths = [tmp_path / "a.ome.tiff", tmp_path / "b.ome.tiff"]
    for path in paths:
        export_ome_tiff(image, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_level_that_is_not_there_is_refused(image: LabelImage, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="level -1"):
        export_ome_tiff(image, tmp_path / "a.ome.tiff", -1)
    assert not (tmp_path / "a.ome.tiff").exists()


READ = """
import json, sys
import tifffile, xmlschema, ome_types
with tifffile.TiffFile(sys.argv[1]) as file:
    xml = file.ome_metadata
ome_types.validate_xml(xml)
(image,) = ome_types.from_xml(xml).images
pixels = image.pixels
print(json.dumps([pixels.size_x, pixels.size_y, pixels.physical_size_x, pixels.type.value, len(pixels.channels)]))
"""


@pytest.mark.peers
def test_the_xml_is_valid_by_the_schema_of_ome(image: LabelImage, tmp_path: Path) -> None:
    export_ome_tiff(image, tmp_path / "a.ome.tiff")
    assert ask_peer("ome_types", READ, str(tmp_path / "a.ome.tiff")) == [1501, 1103, 0.5, "uint8", 1]

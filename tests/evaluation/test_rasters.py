"""Masks on disk, large TIFFs and Zarr label images, against the same masks in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.evaluation.drawing import NAMES, ONTOLOGY, draw_slide
from wsiparse.errors import ReferenceFileError
from wsiparse.evaluation import rasters
from wsiparse.evaluation.masks import InstanceReference, MaskReference, read_instances, read_mask, trace_numbers
from wsiparse.evaluation.names import TargetNames
from wsiparse.evaluation.references import ReferenceFile, find_references, read_reference
from wsiparse.geometry import Region

SLIDE = draw_slide()  # 400 × 300 of 0.5 µm
GRID = SLIDE.grid
ONLY_GLAND = TargetNames(ONTOLOGY, ("gland",))
PROPERTIES = [{"label-value": 1, "class": "crypt"}, {"label-value": 2, "class": "tumour", "cells": 9}]


def draw_numbers(seed: int, shape: tuple[int, int] = (300, 400), most: int = 40) -> NDArray[np.uint16]:
    """Rectangles that touch, hide and cut each other in two."""
    rng = np.random.default_rng(seed)
    values = np.zeros(shape, np.uint16)
    for number in range(1, most + 1):
        y, x, height, width = rng.integers((0, 0, 5, 5), (*shape, 90, 90))
        values[y : y + height, x : x + width] = number
    return values


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fits into memory, and squares are of 64 pixels."""
    monkeypatch.setattr(rasters, "IN_MEMORY", 0)
    monkeypatch.setattr(rasters, "SIDE", 64)


@pytest.mark.parametrize("mpp", [0.5, 0.7, 1.0, 13.0])
@pytest.mark.parametrize("region", [Region(0, 0, 30, 20), Region(3, 2, 20, 18)])
def test_a_tiff_on_disk_draws_what_it_draws_in_memory(tmp_path: Path, small: None, mpp: float, region: Region) -> None:
    values = (draw_numbers(1) % 2 * 255).astype(np.uint8)
    tifffile.imwrite(tmp_path / "m.tif", values, tile=(32, 48), compression="zlib")
    stored, held = read_mask(tmp_path / "m.tif", SLIDE, mpp, ONLY_GLAND), MaskReference(values, {255: "gland"}, GRID)
    grid = GRID.at_mpp(mpp)
    assert np.array_equal(stored.draw("gland", region, grid), held.draw("gland", region, grid))
    assert np.array_equal(stored.draw("gland", grid.region, grid), held.draw("gland", grid.region, grid))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000))
def test_objects_that_squares_cut_are_whole_again(seed: int) -> None:
    values = draw_numbers(seed, (70, 90), 12)
    whole = trace_numbers(values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rasters, "SIDE", 16)
        parts = trace_numbers(values)
    assert len(parts) == len(whole)
    assert shapely.is_valid(parts).all()
    assert shapely.equals(parts, whole).all()


def test_numbers_of_a_tiff_on_disk_are_objects(tmp_path: Path, small: None) -> None:
    values = draw_numbers(2)
    tifffile.imwrite(tmp_path / "m.tif", values, tile=(32, 48))
    stored = read_instances(tmp_path / "m.tif", SLIDE, 0.5, ONLY_GLAND).list_objects("gland")
    held = InstanceReference(values, "gland", GRID).list_objects("gland")
    assert stored is not None
    assert held is not None
    assert shapely.equals(stored, held).all()


@pytest.mark.parametrize("held", [0, 1 << 40])
@pytest.mark.parametrize("shape", [(300, 400), (301, 403)])
def test_of_a_pyramid_whose_levels_were_averaged_the_finest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int, shape: tuple[int, int]
) -> None:
    monkeypatch.setattr(rasters, "IN_MEMORY", held)
    height, width = shape
    values, slide = draw_numbers(4, shape), draw_slide(width, height)
    even = values[: height // 2 * 2, : width // 2 * 2]
    mean = even.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)).astype(np.uint16)
    for name, level in (("picked.tif", even[1::2, 1::2]), ("mean.tif", mean)):
        with tifffile.TiffWriter(tmp_path / name) as file:
            file.write(values, tile=(64, 64), subifds=1)
            file.write(np.ascontiguousarray(level), tile=(64, 64), subfiletype=1)
    picked, averaged = (read_instances(tmp_path / name, slide, 1.1, ONLY_GLAND) for name in ("picked.tif", "mean.tif"))
    assert (picked.width, averaged.width) == (width // 2, width)


def test_a_tiff_on_disk_that_was_cut_short_is_refused_before_it_is_compared(tmp_path: Path, small: None) -> None:
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, (draw_numbers(3) % 2).astype(np.uint8), tile=(32, 48), compression="zlib")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        start = file.pages.first.dataoffsets[5]
    content[start : start + 20] = bytes(20)
    path.write_bytes(content)
    for read in (read_mask, read_instances):
        with pytest.raises(ReferenceFileError, match=r"m\.tif"):
            read(path, SLIDE, 0.5, ONLY_GLAND)


def write_array(path: Path, values: NDArray[Any], version: Any = 3) -> None:
    array = zarr.create_array(
        store=str(path),
        shape=values.shape,
        dtype=values.dtype,
        chunks=(*values.shape[:-2], 64, 64),
        zarr_format=version,
    )
    array[...] = values


def test_of_labels_whose_levels_were_averaged_the_finest_are_read(tmp_path: Path) -> None:
    write_labels(tmp_path / "s1.zarr", VALUES * 2, properties=[{"label-value": n, "class": "crypt"} for n in (2, 4)])
    assert read_mask(tmp_path / "s1.zarr", SLIDE, 1.0, NAMES).width == 200
    zarr.open_array(store=str(tmp_path / "s1.zarr/1"))[50, 99] = 1
    assert read_mask(tmp_path / "s1.zarr", SLIDE, 1.0, NAMES).width == 400


def write_labels(path: Path, values: NDArray[Any], version: str = "0.5", **label: Any) -> None:
    """A label image of two levels."""
    datasets = [{"path": str(n), "coordinateTransformations": []} for n in range(2)]
    ome = {"multiscales": [{"axes": [], "datasets": datasets}], "image-label": label}
    attributes: dict[str, Any] = {"ome": {"version": version, **ome}} if version == "0.5" else ome
    zarr.create_group(store=str(path), attributes=attributes, zarr_format=3 if version == "0.5" else 2)
    for n in range(2):
        write_array(path / str(n), values[..., :: n + 1, :: n + 1], 3 if version == "0.5" else 2)


VALUES = np.kron(np.random.default_rng(0).integers(0, 3, (6, 8)), np.ones((50, 50))).astype(np.uint8)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("lead", [(), (1, 1, 1)])
def test_a_label_image_brings_its_own_legend(tmp_path: Path, version: str, lead: tuple[int, ...]) -> None:
    write_labels(tmp_path / "s1.zarr", VALUES.reshape(*lead, *VALUES.shape), version, properties=PROPERTIES)
    (file,) = find_references(tmp_path, ["s1"])["s1"]
    reference = read_reference([file], SLIDE, NAMES, 0.5)
    for value, target in ((1, "gland"), (2, "tumour")):
        assert np.array_equal(reference.draw(target, GRID.region, GRID), value == VALUES)
    assert not reference.covers("lymphoid aggregate")


def test_the_level_is_the_coarsest_that_is_fine_enough(tmp_path: Path) -> None:
    write_labels(tmp_path / "s1.zarr", VALUES, properties=PROPERTIES)
    for mpp, width in ((0.5, 400), (0.9, 400), (1.0, 200), (3.0, 200)):
        assert read_mask(tmp_path / "s1.zarr", SLIDE, mpp, NAMES).width == width


@pytest.mark.parametrize("version", [2, 3])
def test_a_plain_array_is_a_mask_a_labelled_mask_or_numbers(tmp_path: Path, version: int) -> None:
    write_array(tmp_path / "s1__gland.zarr", (VALUES > 0).astype(np.uint8), version)
    write_array(tmp_path / "s2.zarr", VALUES, version)
    (tmp_path / "s2.json").write_text(json.dumps({1: "gland", 2: "tumour"}))
    write_array(tmp_path / "nuclei", draw_numbers(4), version)
    files = find_references(tmp_path, ["s1", "s2"])
    assert np.array_equal(read_reference(files["s1"], SLIDE, NAMES).draw("gland", GRID.region, GRID), VALUES > 0)
    assert np.array_equal(read_reference(files["s2"], SLIDE, NAMES).draw("tumour", GRID.region, GRID), VALUES == 2)
    numbered = read_reference([ReferenceFile(tmp_path / "nuclei", "gland", True)], SLIDE, NAMES)
    objects, expected = numbered.list_objects("gland"), trace_numbers(draw_numbers(4))
    assert objects is not None
    assert shapely.equals(objects, expected).all()


def test_the_only_label_image_of_an_image_is_found_and_of_several_one_must_be_named(tmp_path: Path) -> None:
    image = zarr.create_group(store=str(tmp_path / "s1.zarr"))
    image.create_group("labels", attributes={"ome": {"labels": ["tissue"]}})
    write_labels(tmp_path / "s1.zarr/labels/tissue", VALUES, properties=PROPERTIES)
    reference = read_mask(tmp_path / "s1.zarr", SLIDE, 0.5, NAMES)
    assert np.array_equal(reference.draw("gland", GRID.region, GRID), VALUES == 1)
    image["labels"].attrs["ome"] = {"labels": ["tissue", "cells"]}
    with pytest.raises(ReferenceFileError, match=r"label images \['tissue', 'cells'\]; name one of them"):
        read_mask(tmp_path / "s1.zarr", SLIDE, 0.5, NAMES)


def damage_chunk(path: Path) -> None:
    write_labels(path, VALUES, properties=PROPERTIES)
    (path / "0/c/1/1").write_bytes(b"no chunk")


def damage_metadata(path: Path) -> None:
    write_labels(path, VALUES, properties=PROPERTIES)
    (path / "zarr.json").write_text("{")


def lose_array(path: Path) -> None:
    write_labels(path, VALUES, properties=PROPERTIES)
    (path / "0/zarr.json").unlink()


def write_group(path: Path) -> None:
    zarr.create_group(store=str(path))


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "chunk": (damage_chunk, "whole picture"),
    "metadata": (damage_metadata, "expected a label image"),
    "array": (lose_array, "expected a label image"),
    "group": (write_group, "expected a label image"),
    "fractions": (lambda path: write_array(path, VALUES / 2), "float64"),
    "times": (lambda path: write_array(path, np.stack([VALUES] * 3)), "expected a label image"),
    "size": (lambda path: write_array(path, VALUES[:200]), "400 × 200 pixels for a slide of 400 × 300"),
    "legend": (lambda path: write_labels(path, VALUES, properties=PROPERTIES[:1]), r"values \[2\] are not in"),
    "names": (lambda path: write_labels(path, VALUES, properties=[{"label-value": 1, "class": "x"}] * 2), "values"),
    "unnamed": (lambda path: write_labels(path, VALUES, properties=[{"label-value": 1}]), "expected 0 and 255"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_label_zarr_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    make, message = BROKEN[name]
    make(tmp_path / "s1.zarr")
    with pytest.raises(ReferenceFileError, match=message) as caught:
        read_mask(tmp_path / "s1.zarr", SLIDE, 0.5, ONLY_GLAND)
    assert "\n" not in str(caught.value)
    assert "s1.zarr" in str(caught.value)

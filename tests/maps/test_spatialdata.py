"""SpatialData stores whose names, outlines and forerunners are out of the ordinary."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from tests.maps.drawing import DIGEST, GLAND, draw_maps, draw_tiling, list_blocks, write_canvas
from wsiparse.errors import OutputError
from wsiparse.maps.canvas import Canvas, create_canvas
from wsiparse.maps.labels import build_label_pyramid, create_labels, read_labels, write_labels
from wsiparse.maps.pyramid import build_pyramid
from wsiparse.maps.spatialdata import SpatialSource, export_spatialdata

GROUPS = ("腺", "核", "cells/nuclei", "cells nuclei", "Tumour", "tumour")
NAMES = ("0.5um-腺", "0.5um-核", "0.5um-cells_nuclei", "0.5um-cells_nuclei_", "0.5um-Tumour", "0.5um-tumour_")


@pytest.fixture(scope="module")
def canvas(tmp_path_factory: pytest.TempPathFactory) -> Canvas:
    """A finished pass with a target in each group, which its label map shows in a row of its own."""
    targets = tuple(replace(GLAND, name=f"t{n}", prompt=f"p{n}", group=group) for n, group in enumerate(GROUPS))
    canvas = create_canvas(tmp_path_factory.mktemp("run") / "0.5um", DIGEST, draw_tiling(300, 200), targets)
    write_canvas(canvas, draw_maps(canvas.grid, len(targets)))
    build_pyramid(canvas)
    for n, group in enumerate(GROUPS):
        image = create_labels(canvas, group)
        rows = np.zeros((canvas.grid.height, canvas.grid.width), np.uint8)
        rows[n] = 1
        for block in list_blocks(canvas.tiling):
            write_labels(image, block, rows[block.region.slices])
        build_label_pyramid(image)
        assert read_labels(image, canvas.grid.region).sum() == canvas.grid.width
    return canvas


def test_each_group_keeps_its_label_map_whatever_signs_its_name_has(canvas: Canvas, tmp_path: Path) -> None:
    export_spatialdata(SpatialSource([canvas], None, 0.5), tmp_path / "a.zarr")
    store = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert store["labels"].attrs["ome"] == {"labels": list(NAMES)}
    for n, name in enumerate(NAMES):
        labels = zarr.open_array(tmp_path / "a.zarr/labels" / name / "0", mode="r")[:]
        assert np.flatnonzero(np.asarray(labels).any(axis=1)).tolist() == [n]


def test_a_full_disk_is_told_in_few_words(canvas: Canvas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(source: str, path: str, **_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(shutil.copytree, "__defaults__", (False, None, fill, False, False))
    with pytest.raises(OutputError, match="No space left on device") as caught:
        export_spatialdata(SpatialSource([canvas], None, 0.5), tmp_path / "a.zarr")
    assert "[(" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_nothing_outlined_leaves_the_outlines_out(canvas: Canvas, tmp_path: Path) -> None:
    export_spatialdata(SpatialSource([canvas], None, 0.5), tmp_path / "a.zarr")
    assert [path.name for path in (tmp_path / "a.zarr/shapes").iterdir()] == ["zarr.json"]


def test_a_store_written_before_is_replaced_and_no_other(canvas: Canvas, tmp_path: Path) -> None:
    (tmp_path / "outlines").write_bytes(b"PAR1")
    export_spatialdata(SpatialSource([canvas], tmp_path / "outlines", 0.5), tmp_path / "a.zarr")
    export_spatialdata(SpatialSource([canvas], None, 0.5), tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr/shapes/outlines").exists()
    zarr.create_group(tmp_path / "b.zarr", attributes={"spatialdata_attrs": {"version": "0.2"}})
    with pytest.raises(OutputError, match="did not write"):
        export_spatialdata(SpatialSource([canvas], None, 0.5), tmp_path / "b.zarr")

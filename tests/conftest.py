"""Fixtures: slides drawn into files, and the full data sets where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.drawing import CMU_1, draw_array, draw_tissue, mirror_cmu_1, write_slide
from wsiparse.slides.slide import Pixels


class MakeSlide(Protocol):
    """Writes a tiled JPEG pyramid: drawn tissue, given `pixels`, or the CMU-1 region mirrored to the size."""

    def __call__(
        self,
        width: int,
        height: int,
        mpp: float | None = 0.5,
        *,
        pixels: Pixels | None = None,
        mirrored: bool = False,
        name: str = "drawn.svs",
        **writing: Any,
    ) -> Path: ...


@pytest.fixture
def make_slide(tmp_path: Path) -> MakeSlide:
    def make(
        width: int,
        height: int,
        mpp: float | None = 0.5,
        *,
        pixels: Pixels | None = None,
        mirrored: bool = False,
        name: str = "drawn.svs",
        **writing: Any,
    ) -> Path:
        shown = draw_tissue(width, height) if pixels is None else pixels
        draw = mirror_cmu_1() if mirrored else draw_array(shown)
        return write_slide(tmp_path / name, (width, height), mpp, draw, **writing)

    return make


@pytest.fixture(scope="session")
def cmu_1() -> Path:
    return CMU_1


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = os.environ.get("WSIPARSE_SHARED_DATA")
    if not folder:
        pytest.skip("WSIPARSE_SHARED_DATA is not set")
    return Path(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first: begun last, one of them would keep a single process busy alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.parent.name != "faults", item.path not in slow))

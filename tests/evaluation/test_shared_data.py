"""References of public data sets, read as they are distributed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.evaluation.drawing import GLAND
from wsiparse.evaluation.evaluate import Prediction, evaluate_slide
from wsiparse.evaluation.masks import read_mask
from wsiparse.evaluation.names import TargetNames
from wsiparse.evaluation.outlines import read_outlines
from wsiparse.geometry import Grid, Region
from wsiparse.ontology import Ontology, Target
from wsiparse.slides.slide import Slide

pytestmark = pytest.mark.shared_data

NUCLEUS = Target("nucleus", "cell nucleus", "cells", (0, 255, 0), 0.25)
NAMES = TargetNames(Ontology((GLAND, NUCLEUS)), ("gland",))
NUCLEI = TargetNames(Ontology((GLAND, NUCLEUS)), ("nucleus",))


def load(path: Path, mode: str) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert(mode))


def slide_of(image: Path, mpp: float) -> Slide:
    height, width = load(image, "L").shape
    return Slide(image.stem, str(image), (Grid(width, height, mpp),), "manifest")


def strips(labels: NDArray[np.uint8], grid: Grid) -> Iterator[tuple[Region, NDArray[np.uint8]]]:
    for y in range(0, grid.height, 100):
        region = Region(0, y, grid.width, 100).intersect(grid.region)
        yield region, labels[region.slices]


def test_a_gland_mask_against_itself_is_perfect_at_its_scale(shared_data: Path) -> None:
    image = next(iter(sorted((shared_data / "glas" / "images").glob("testA_*"))))
    mask = next((shared_data / "glas" / "masks").glob(f"{image.stem}.*"))
    slide = slide_of(image, 0.62)
    reference = read_mask(mask, slide, 0.62, NAMES)
    labels = reference.draw("gland", slide.grid.region, slide.grid).astype(np.uint8)
    (score,) = evaluate_slide(
        image.stem, Prediction(slide.grid, (GLAND,), strips(labels, slide.grid)), reference
    ).scores
    assert score.dice == 1
    assert score.reference == np.count_nonzero(load(mask, "L")) > 10_000


def test_nuclei_drawn_in_imagescope_are_read_and_lie_on_dark_pixels(shared_data: Path) -> None:
    for image in sorted((shared_data / "monuseg" / "test").glob("*.webp")):
        slide = slide_of(image, 0.25)
        reference = read_outlines(image.with_suffix(".xml"), slide, NUCLEI)
        drawn = reference.draw("nucleus", slide.grid.region, slide.grid)
        red = load(image, "RGB")[..., 0]
        assert 0.05 < drawn.mean() < 0.6
        assert red[drawn].mean() < red[~drawn].mean() - 10

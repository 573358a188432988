from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.label_cmu_1 import HIDDEN, LABELS, NUCLEUS, label_nuclei
from wsiparse.evaluation.masks import read_mask
from wsiparse.evaluation.names import TargetNames
from wsiparse.geometry import Region
from wsiparse.ontology import load_ontology
from wsiparse.runs.manifest import read_manifest
from wsiparse.slides.open import describe, make_reader

TABLE = Path(__file__).parents[2] / "configs/train/open-1-skin-slides.csv"

PINK, PALE, PURPLE, DARK = (230, 120, 170), (240, 236, 240), (150, 90, 150), (60, 30, 90)
CELLS = {"seen": (30, 30), "unseen, far darker": (30, 100), "unseen, hardly darker": (100, 100)}
SIDE = 200


def disk(place: tuple[int, int], radius: int) -> NDArray[np.bool_]:
    down, across = np.ogrid[:SIDE, :SIDE]
    return np.asarray(np.hypot(down - place[0], across - place[1]) < radius)


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    """Tissue with three nuclei, one of them in cytoplasm hardly paler than it, keratin, and glass beside it."""
    image = np.full((SIDE, SIDE, 3), PINK, np.uint8)
    image[80:120, 80:120] = PURPLE
    for place, red in zip(CELLS.values(), (60, 60, 95), strict=True):
        image[disk(place, 9)] = (red, 30, 90)
    image[130:, :160] = DARK
    image[:, 160:] = PALE
    return image


def test_dark_parts_are_nuclei_where_the_model_or_their_surroundings_agree(pixels: NDArray[np.uint8]) -> None:
    found = np.zeros(pixels.shape[:2], np.float32)
    found[disk(CELLS["seen"], 9)] = 0.9
    labels = label_nuclei(pixels, found)
    assert [labels[place] for place in CELLS.values()] == [NUCLEUS, NUCLEUS, HIDDEN]
    assert labels[145, 80] == HIDDEN
    assert not labels[:, 170:].any()
    assert not labels[60, :150].any()
    assert (labels[disk(CELLS["seen"], 7)] == NUCLEUS).all()


def test_what_the_model_is_sure_of_and_is_not_dark_teaches_nothing(pixels: NDArray[np.uint8]) -> None:
    found = np.zeros(pixels.shape[:2], np.float32)
    found[85:88, 85:88] = 1
    labels = label_nuclei(pixels, found)
    assert (labels[85:88, 85:88] == HIDDEN).all()
    assert labels[95, 84] == 0


def test_the_labels_lie_over_the_dark_nuclei_of_the_slide_that_ships() -> None:
    (row,) = read_manifest(TABLE)
    slide = describe(Path(row.slide))
    mask = read_mask(Path(str(row.reference)), slide, slide.mpp, TargetNames(load_ontology("open-1"), ("nuclei",)))
    region = Region(950, 1000, 600, 450)
    red = make_reader(slide).read_region(region, 0)[..., 0].astype(float)
    nuclei, hidden = mask.draw("nuclei", region, slide.grid), mask.draw_ignored(region, slide.grid)
    assert 0.05 < nuclei.mean() < 0.2
    assert red[nuclei].mean() < red[~nuclei & ~hidden].mean() - 60


def test_nothing_is_learned_where_the_demo_draws() -> None:
    labels = np.asarray(Image.open(LABELS))
    assert (labels[1000:1900, 1900:3100] == HIDDEN).all()

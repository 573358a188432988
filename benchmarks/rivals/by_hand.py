"""What people write by hand: OpenSlide in a torch Dataset, a DataLoader with workers, an `np.memmap` to write to.

    python -m benchmarks.rivals.by_hand SLIDE OUT full|tissue

Probabilities of each tile's core, uint8, in one flat file. `tissue` leaves out tiles whose thumbnail shows nothing
darker than glass.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import openslide
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from benchmarks.rivals.marks import Marks
from benchmarks.tiny_network import OVERLAP, STRIDE, TARGETS, TILE, TinyNetwork

BATCH = 8
CORE, MARGIN = TILE - OVERLAP, OVERLAP // 2
GLASS = 220
Place = tuple[int, int]


class Tiles(Dataset[tuple[NDArray[np.uint8], int, int]]):
    """Tiles by the corner of their core; each worker opens the slide for itself."""

    def __init__(self, path: str, places: list[Place]) -> None:
        self.path, self.places = path, places
        self.slide: openslide.OpenSlide | None = None

    def __len__(self) -> int:
        """How many tiles there are."""
        return len(self.places)

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], int, int]:
        """Pixels uint8 [tile, tile, 3] and the corner."""
        self.slide = self.slide or openslide.OpenSlide(self.path)
        x, y = self.places[number]
        image = self.slide.read_region((x - MARGIN, y - MARGIN), 0, (TILE, TILE)).convert("RGB")
        return np.array(image), x, y


def list_places(slide: openslide.OpenSlide, tissue: bool) -> list[Place]:
    """Corners of the cores, of all or of those that show tissue."""
    width, height = slide.dimensions
    places = [(x, y) for y in range(0, height, CORE) for x in range(0, width, CORE)]
    if not tissue:
        return places
    dark = np.asarray(slide.get_thumbnail((1024, 1024)).convert("L")) < GLASS
    scale = dark.shape[1] / width

    def shows(place: Place) -> bool:
        x, y = (int(value * scale) for value in place)
        side = int(CORE * scale) + 1
        return bool(dark[y : y + side, x : x + side].any())

    return [place for place in places if shows(place)]


@torch.inference_mode()
def predict(network: TinyNetwork, tiles: torch.Tensor) -> NDArray[np.uint8]:
    """Probabilities of the cores, uint8 [N, 6, core, core]."""
    found = torch.nn.functional.interpolate(network(tiles), scale_factor=STRIDE, mode="nearest")
    whole: NDArray[np.uint8] = (found * 255).round().to(torch.uint8).numpy()
    return whole[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


def main(path: str, output: str, area: str) -> None:
    """Predict the slide and print when the work began and ended."""
    marks = Marks()
    with openslide.OpenSlide(path) as slide:
        width, height = slide.dimensions
        places = list_places(slide, area == "tissue")
    Path(output).mkdir()
    maps = np.memmap(Path(output, "probabilities.dat"), np.uint8, "w+", shape=(TARGETS, height, width))
    network = TinyNetwork()
    for tiles, xs, ys in DataLoader(Tiles(path, places), BATCH, num_workers=os.cpu_count() or 1):
        for found, x, y in zip(predict(network, tiles), xs, ys, strict=True):
            place = maps[:, y : y + CORE, x : x + CORE]
            place[:] = found[:, : place.shape[1], : place.shape[2]]
    maps.flush()
    marks.set("ended")
    marks.print()


if __name__ == "__main__":
    main(*sys.argv[1:4])

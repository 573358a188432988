"""Does the size of a tile change what the default model finds? Dice in tiles of several sizes.

    WSIPARSE_SHARED_DATA=/path/to/data python -m benchmarks.tile_size

Images are too small to fill a large tile, so each lies in a mosaic of its own mirror images, which is cut into tiles as
a slide is. `cost` is the pixels that the model sees by those that are kept.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.model_quality import (
    GLAS_MPP,
    MONUSEG_MPP,
    Mask,
    find_rescaled,
    read_glas,
    read_monuseg,
    score_masks,
    summarize,
)
from benchmarks.report import Row, print_table, write_result
from wsiparse.models.load import ModelSpec, load_model
from wsiparse.models.model import Model
from wsiparse.ontology import Ontology, Target

SIZES = ((768, 128), (512, 128), (384, 128), (256, 64))
"""Sides of tiles and overlaps."""


@dataclass(frozen=True)
class Set:
    """Images of one scale and what they show."""

    name: str
    target: str
    mpp: float
    paths: Sequence[Path]
    read: Callable[[Path], Mask]


def main() -> None:
    """Measure both sets and write the table."""
    data, model = Path(os.environ["WSIPARSE_SHARED_DATA"]), load_model(ModelSpec(device="cpu"))
    glas = sorted((data / "glas/images").glob("testA*.webp"))[::2]
    monuseg = sorted((data / "monuseg/test").glob("*.webp"))
    sets = (
        Set("GlaS testA, every second", "glandular structure", GLAS_MPP, glas, read_glas),
        Set("MoNuSeg test", "nuclei", MONUSEG_MPP, monuseg, read_monuseg),
    )
    rows = [measure(model, images, *size) for images in sets for size in SIZES]
    print_table("Dice by the size of tiles", rows)
    print(write_result("tile_size", rows))


def measure(model: Model, images: Set, tile: int, overlap: int) -> Row:
    """Dice over a set in tiles of one size."""
    target = Ontology(model.targets).find(images.target)
    scores = []
    for path in images.paths:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        find = functools.partial(find_tiled, tile=tile, overlap=overlap)
        found = find_rescaled(model, pixels, target, images.mpp / target.mpp, find)
        scores.append(score_masks(found, images.read(path)))
    cost = (tile / (tile - overlap)) ** 2
    return {"images of": images.name, "tile": tile, "overlap": overlap, "cost": cost, **summarize(scores)}


def find_tiled(
    model: Model, pixels: NDArray[np.uint8], targets: list[Target], *, tile: int, overlap: int
) -> NDArray[np.float64]:
    """Probabilities [K, H, W] of an image amid its mirror images, its corner within a tile's core."""
    height, width = pixels.shape[:2]
    core, margin, ahead = tile - overlap, overlap // 2, tile // 3
    before, after = margin + ahead, tile + core
    mosaic = np.pad(pixels, ((before, after), (before, after), (0, 0)), mode="symmetric")
    found = np.empty((len(targets), height + ahead + core, width + ahead + core))
    for y in range(0, height + ahead, core):
        for x in range(0, width + ahead, core):
            answer = model.predict(mosaic[None, y : y + tile, x : x + tile], targets)[0] / 255
            found[:, y : y + core, x : x + core] = answer[:, margin : margin + core, margin : margin + core]
    return found[:, ahead : ahead + height, ahead : ahead + width]


if __name__ == "__main__":
    main()

"""Slides to measure on: real tissue of any size, kept in benchmarks/.slides once drawn.

A part of the CMU-1 region that is all tissue is mirrored to the size, as a tiled JPEG pyramid at 0.5 µm with means of
4×4 pixels as second level. A share of tissue below 1 leaves one square of it in the middle, and clear glass around.
"""

from __future__ import annotations

import math
from pathlib import Path

from tests.drawing import Draw, average_squares, fold, mirror_cmu_1, write_slide
from wsiparse.files import write_whole
from wsiparse.geometry import Region
from wsiparse.slides.slide import Pixels

FOLDER = Path(__file__).parent / ".slides"
MPP = 0.5
TISSUE = Region(1040, 1520, 800, 1360)
"""Where the CMU-1 region shows no glass; 1, 2, 4, 8 and 16 divide it, so that the levels agree at every mirror line."""
GLASS = (243, 243, 242)


def find_slide(side: int, share: float = 1.0, tile: int = 240, compression: str | int = "jpeg") -> Path:
    """The slide of a size, drawn if it is not there yet."""
    path = FOLDER / f"{side}-{share:g}-{tile}-{compression}.svs"
    if not path.exists():
        draw = mirror_tissue() if share == 1 else draw_island(side, share)
        level = {"level": 85 if compression == "jpeg" else 30}
        with write_whole(path) as partial:
            write_slide(partial, (side, side), MPP, draw, tile=tile, compression=compression, compressionargs=level)
    return path


def mirror_tissue() -> Draw:
    """Draws tissue without end."""
    sources: dict[int, Pixels] = {}

    def draw(region: Region, downsample: int) -> Pixels:
        if downsample not in sources:
            sources[downsample] = average_squares(mirror_cmu_1()(TISSUE, 1), downsample)
        source = sources[downsample]
        rows, columns = (fold(part, size) for part, size in zip(region.slices, source.shape, strict=False))
        return source[rows[:, None], columns]

    return draw


def draw_island(side: int, share: float) -> Draw:
    """Tissue in a square in the middle of a slide, glass around it."""
    tissue = mirror_tissue()
    width = round(side * math.sqrt(share))
    corner = (side - width) // 2

    def draw(region: Region, downsample: int) -> Pixels:
        low, high = corner // downsample, (corner + width) // downsample
        island = Region(low, low, high - low, high - low).intersect(region)
        shown = tissue(region, downsample)
        pixels = shown.copy()
        pixels[:] = GLASS
        inside = island.shift(-region.x, -region.y).slices
        if island.area:
            pixels[inside] = shown[inside]
        return pixels

    return draw

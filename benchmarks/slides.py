"""Slides to measure on: real tissue of any size, kept in benchmarks/.slides once drawn.

The CMU-1 region is mirrored to the size, as a tiled JPEG pyramid at 0.5 µm with every fourth pixel as second level. A
share of tissue below 1 leaves one square of it in the middle, and clear glass around.
"""

from __future__ import annotations

import math
from pathlib import Path

from tests.drawing import Draw, mirror_cmu_1, write_slide
from wsiparse.files import write_whole
from wsiparse.geometry import Region
from wsiparse.slides.slide import Pixels

FOLDER = Path(__file__).parent / ".slides"
MPP = 0.5
GLASS = (243, 243, 242)


def find_slide(side: int, share: float = 1.0, tile: int = 240, compression: str | int = "jpeg") -> Path:
    """The slide of a size, drawn if it is not there yet."""
    path = FOLDER / f"{side}-{share:g}-{tile}-{compression}.svs"
    if not path.exists():
        draw = mirror_cmu_1() if share == 1 else draw_island(side, share)
        level = {"level": 85 if compression == "jpeg" else 30}
        with write_whole(path) as partial:
            write_slide(partial, (side, side), MPP, draw, tile=tile, compression=compression, compressionargs=level)
    return path


def draw_island(side: int, share: float) -> Draw:
    """Tissue in a square in the middle of a slide, glass around it."""
    tissue = mirror_cmu_1()
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

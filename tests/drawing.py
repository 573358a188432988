"""Slides drawn for tests and benchmarks, and the writers that put them into files."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import tifffile
from scipy import ndimage

from wsiparse.geometry import Region
from wsiparse.slides.slide import Pixels

CMU_1 = Path(__file__).parent / "data" / "CMU-1-Small-Region.svs"

Draw = Callable[[Region, int], Pixels]
"""Pixels of a region of the raster that is some downsample of the slide, uint8 [h, w, 3]."""


def draw_tissue(width: int, height: int, seed: int = 0) -> Pixels:
    """Stained discs with nuclei on nearly white glass; the upper left corner and a rim stay glass."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    stain = np.zeros((height, width), np.float32)  # [H, W], 0 on glass
    for _ in range(4):
        cx, cy = rng.uniform(0.35, 0.7) * width, rng.uniform(0.35, 0.7) * height
        stain[np.hypot((x - cx) / width, (y - cy) / height) < rng.uniform(0.12, 0.25)] = 1
    nuclei = ndimage.gaussian_filter(rng.standard_normal((height, width)).astype(np.float32), 3) > 0.12
    shade = stain * (0.35 + 0.4 * nuclei)  # [H, W]
    color = 244 - shade[..., None] * np.array([120, 190, 90])  # [H, W, 3]
    pixels: Pixels = np.clip(color + rng.normal(0, 2, (height, width, 1)), 0, 255).astype(np.uint8)
    return pixels


def draw_array(pixels: Pixels) -> Draw:
    """Draws what an array shows; coarser rasters are averages of whole squares of it."""

    def draw(region: Region, downsample: int) -> Pixels:
        return average_squares(pixels, downsample)[region.slices]

    return draw


def mirror_cmu_1() -> Draw:
    """Draws the CMU-1 region, mirrored at its edges again and again: real tissue of any size without seams."""

    def draw(region: Region, downsample: int) -> Pixels:
        source = _cmu_1(downsample)
        rows, columns = (fold(part, size) for part, size in zip(region.slices, source.shape, strict=False))
        return source[rows[:, None], columns]

    return draw


def average_squares(pixels: Pixels, side: int) -> Pixels:
    """Means over squares of `side` pixels; what does not fill a square is cut off."""
    height, width = pixels.shape[0] // side, pixels.shape[1] // side
    squares = pixels[: height * side, : width * side].reshape(height, side, width, side, 3)
    means: Pixels = np.round(squares.mean(axis=(1, 3))).astype(np.uint8)  # [H / side, W / side, 3]
    return means


def write_slides(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Slides s0.svs, s1.svs … of drawn tissue, each another, in a folder that is made where there is none."""
    folder.mkdir(exist_ok=True)
    for n in range(count):
        write_slide(folder / f"s{n}.svs", size, 0.5, draw_array(draw_tissue(*size, seed=n)))
    return folder


def write_slide(
    path: Path,
    size: tuple[int, int],
    mpp: float | None,
    draw: Draw,
    *,
    tile: int = 240,
    downsamples: Sequence[int] = (1, 4),
    **writing: Any,
) -> Path:
    """Write a tiled pyramid as Aperio's scanners do; `writing` overrides arguments of tifffile's writer."""
    scale = "" if mpp is None else f"|MPP = {mpp:.10g}"
    options: dict[str, Any] = {"compression": "jpeg", "compressionargs": {"level": 85}, "photometric": "rgb"} | writing
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for downsample in downsamples:
            width, height = size[0] // downsample, size[1] // downsample
            file.write(
                _tiles((width, height), tile, downsample, draw),
                shape=(height, width, 3),
                dtype=np.uint8,
                tile=(tile, tile),
                description=f"Aperio Image Library v11.2.1 \r\n{width}x{height} ({tile}x{tile}) JPEG/RGB Q=85{scale}",
                subfiletype=int(downsample > 1),
                metadata=None,
                **options,
            )
    return path


def _tiles(size: tuple[int, int], tile: int, downsample: int, draw: Draw) -> Iterator[Pixels]:
    for y in range(0, size[1], tile):
        for x in range(0, size[0], tile):
            part = Region(x, y, tile, tile).intersect(Region(0, 0, *size))
            pixels = draw(part, downsample)
            yield np.pad(pixels, ((0, tile - part.height), (0, tile - part.width), (0, 0)), mode="edge")


@functools.cache
def _cmu_1(downsample: int) -> Pixels:
    with openslide.OpenSlide(CMU_1) as slide:
        # A size that 1, 2, 4, 8 and 16 divide, so that the levels agree at every mirror line.
        return average_squares(np.asarray(slide.read_region((0, 0), 0, (2208, 2960)))[..., :3], downsample)


def fold(part: slice, size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    """Where the pixels of a part lie in what is mirrored again and again."""
    turned = np.arange(part.start, part.stop) % (2 * size)
    return np.where(turned < size, turned, 2 * size - 1 - turned)

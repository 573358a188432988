"""The tile readers that share this environment: ours, OpenSlide, and the bare decoder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import openslide
import tifffile

from benchmarks.rivals.turns import Corner
from benchmarks.slides import MPP
from wsiparse.geometry import Grid, Region
from wsiparse.slides.jpeg_tiff import JpegTiffReader
from wsiparse.slides.levels import cut_region
from wsiparse.slides.open import describe, make_reader
from wsiparse.slides.slide import Pixels, Reader
from wsiparse.slides.tiff import read_jpeg_levels
from wsiparse.tiles.resample import read_grid

Read = Callable[[Corner], object]


@dataclass(frozen=True)
class Request:
    """Which tiles are asked for: the file, their side, and µm per pixel they are shown at."""

    path: Path
    tile: int
    mpp: float

    @property
    def side(self) -> int:
        """Side of what a tile shows, in level-0 pixels."""
        return round(self.tile * self.mpp / MPP)


def open_ours(request: Request, threads: int) -> Reader:
    """Our reader of a file, held to so many threads where it has its own."""
    slide = describe(request.path)
    levels = read_jpeg_levels(request.path, [(grid.width, grid.height) for grid in slide.levels])
    return JpegTiffReader(slide, levels, threads=threads) if levels else make_reader(slide)


def read_ours(request: Request, reader: Reader) -> Callable[[Corner], Pixels]:
    """As a block is read: any grid over the slide."""
    full = reader.slide.grid
    grid = full if request.mpp == MPP else full.at_mpp(request.mpp)

    def read(corner: Corner) -> Pixels:
        x, y = (round(place * MPP / request.mpp) for place in corner)
        return read_grid(reader, grid, Region(x, y, request.tile, request.tile))

    return read


def read_openslide(request: Request) -> Callable[[Corner], Pixels]:
    """As OpenSlide's users do it: a region of level 0, scaled where the scale differs."""
    slide, side, size = openslide.OpenSlide(request.path), request.side, (request.tile, request.tile)

    def read(corner: Corner) -> Pixels:
        image = slide.read_region(corner, 0, (side, side)).convert("RGB")
        return np.asarray(image if side == request.tile else image.resize(size))

    return read


def read_raw(request: Request) -> Read:
    """All stored tiles that a tile touches, decoded and thrown away."""
    page = tifffile.TiffFile(request.path).pages.first
    width, height = page.imagewidth, page.imagelength
    columns, inside = -(-width // page.tilewidth), Grid(width, height, MPP).region
    file = os.open(request.path, os.O_RDONLY)
    decode = choose_decoder(page)

    def read(corner: Corner) -> None:
        shown = Region(*corner, request.side, request.side).intersect(inside)
        for part in cut_region(shown, (page.tilewidth, page.tilelength)):
            number = part.y // page.tilelength * columns + part.x // page.tilewidth
            decode(os.pread(file, page.databytecounts[number], page.dataoffsets[number]))

    return read


def choose_decoder(page: tifffile.TiffPage) -> Callable[[bytes], object]:
    """The decoder of a page's tiles."""
    if page.compression != tifffile.COMPRESSION.JPEG:
        return lambda data: imagecodecs.jpeg2k_decode(data)
    space = tifffile.PHOTOMETRIC(page.photometric).name
    return lambda data: imagecodecs.jpeg8_decode(data, tables=page.jpegtables, colorspace=space, outcolorspace="RGB")

"""The tile readers of other packages, in their own environment: a turn for each line that comes in.

    .peers/bin/python -m benchmarks.rivals.peer_reader tiffslide|tiatoolbox SLIDE TILE MPP THREADS

A line in holds the corners of the tiles in level-0 pixels, as JSON; a line out the seconds and processor seconds.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.rivals.turns import Corner, time_reads

Read = Callable[[Corner], object]
MPP = 0.5
"""Of level 0."""


def read_tiffslide(path: str, tile: int, mpp: float) -> Read:
    """As OpenSlide's users do it: a region of level 0, scaled where the scale differs."""
    slide: Any = importlib.import_module("tiffslide").TiffSlide(path)
    side = round(tile * mpp / MPP)

    def read(corner: Corner) -> object:
        image = slide.read_region(corner, 0, (side, side)).convert("RGB")
        return np.asarray(image if side == tile else image.resize((tile, tile)))

    return read


def read_tiatoolbox(path: str, tile: int, mpp: float) -> Read:
    """`read_rect` at the scale that is asked for."""
    slide: Any = importlib.import_module("tiatoolbox.wsicore.wsireader").WSIReader.open(path)
    return lambda corner: slide.read_rect(corner, (tile, tile), resolution=mpp, units="mpp")


def main(package: str, path: str, tile: str, mpp: str, threads: str) -> None:
    """Answer until nothing more comes in."""
    start = {"tiffslide": read_tiffslide, "tiatoolbox": read_tiatoolbox}[package]
    read = start(path, int(tile), float(mpp))
    for line in sys.stdin:
        turn = time_reads(read, [tuple(corner) for corner in json.loads(line)], int(threads))
        print(json.dumps(vars(turn)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:6])

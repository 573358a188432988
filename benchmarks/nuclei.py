"""A label map of nuclei that touch nobody, drawn from seeds: a file of one bit a pixel, which NumPy alone can read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PITCH, RIM = 22, 8
"""Pixels of a nucleus's cell, and of the empty rim of the map."""
MPP = 0.5


def find_side(lattice: int) -> int:
    """Pixels of the side of a map of lattice × lattice nuclei."""
    return (lattice * PITCH + 2 * RIM + 7) // 8 * 8


def draw_nuclei(path: Path, lattice: int) -> None:
    """Write the map of lattice² ellipses of 6.6 to 16 pixels, somewhere within their cells."""
    side = find_side(lattice)
    with path.open("wb") as file:
        file.write(bytes(RIM * side // 8))
        for row in range(lattice):
            file.write(np.packbits(_draw_strip(row, lattice, side), axis=1).tobytes())
        file.write(bytes((side - RIM - lattice * PITCH) * side // 8))


def _draw_strip(seed: int, lattice: int, side: int) -> NDArray[np.bool_]:
    rng = np.random.default_rng(seed)
    middle = rng.uniform(-2, 2, (2, lattice, 1, 1)) + PITCH / 2
    long = rng.uniform(5.5, 8, (lattice, 1, 1))
    short, angle = long * rng.uniform(0.6, 1, (lattice, 1, 1)), rng.uniform(0, np.pi, (lattice, 1, 1))
    y, x = np.indices((PITCH, PITCH))[:, None] + 0.5 - middle
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    cells = (along / long) ** 2 + (across / short) ** 2 <= 1  # [lattice, PITCH, PITCH]
    strip = np.zeros((PITCH, side), np.bool_)
    strip[:, RIM : RIM + lattice * PITCH] = cells.transpose(1, 0, 2).reshape(PITCH, -1)
    return strip


def read_nuclei(path: Path, side: int, rows: range, columns: range) -> NDArray[np.uint8]:
    """A window of the map, 0 beyond its edges."""
    seen = range(max(rows.start, 0), min(rows.stop, side))
    packed = np.fromfile(path, np.uint8, len(seen) * side // 8, offset=seen.start * side // 8)
    left, right = max(columns.start, 0), min(columns.stop, side)
    first = left // 8  # of the bytes that show the columns: a whole row of them unpacked is larger than a block
    band = np.unpackbits(packed.reshape(len(seen), -1)[:, first : -(-right // 8)], axis=1)
    window = np.zeros((len(rows), len(columns)), np.uint8)
    top = seen.start - rows.start
    inside = band[:, left - 8 * first : right - 8 * first]
    window[top : top + len(seen), left - columns.start : right - columns.start] = inside
    return window

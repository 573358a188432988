"""Label maps that break tracers: noise, checkerboards, spirals, rings, combs, corners that touch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.batches import Batch, cut_batches
from wsiparse.annotations.parquet import open_parquet
from wsiparse.annotations.pieces import Pieces
from wsiparse.annotations.polygons import join_blocks, trace_block
from wsiparse.geometry import Grid, Region
from wsiparse.ontology import Target
from wsiparse.slides.slide import Slide

Mask = NDArray[np.uint8]
Scores = NDArray[np.uint8]

GLAND = Target("gland", "glandular structure", "tissue", (20, 160, 60), 2.0)
NUCLEUS = Target("nucleus", "nuclei", "tissue", (90, 60, 200), 0.5, instances=True)
TARGETS = (GLAND, NUCLEUS)


def _noise(rng: np.random.Generator, height: int, width: int) -> Mask:
    density = rng.choice([0.1, 0.3, 0.45, 0.55, 0.62, 0.7, 0.9])
    return np.where(rng.random((height, width)) < density, 1, 0).astype(np.uint8)


def _two_targets(rng: np.random.Generator, height: int, width: int) -> Mask:
    return _noise(rng, height, width) * rng.integers(1, 3, (height, width)).astype(np.uint8)


def _checkers(rng: np.random.Generator, height: int, width: int) -> Mask:
    side = rng.integers(1, 4)
    rows, columns = np.indices((height, width)) // side
    return np.where((rows + columns) % 2, 1, 0).astype(np.uint8)


def _spiral(rng: np.random.Generator, height: int, width: int) -> Mask:
    mask = np.zeros((height, width), np.uint8)
    pitch = int(rng.integers(2, 5))
    for inset in range(0, min(height, width) // 2 - pitch, pitch):
        mask[inset, max(inset - pitch, 0) : width - inset] = 1
        mask[inset : height - inset, width - inset - 1] = 1
        mask[height - inset - 1, inset : width - inset] = 1
        mask[inset + pitch : height - inset, inset] = 1
    return mask


def _lines(rng: np.random.Generator, height: int, width: int) -> Mask:
    mask = np.zeros((height, width), np.uint8)
    for _ in range(4):
        (y0, y1), (x0, x1) = rng.integers(0, height, 2), rng.integers(0, width, 2)
        steps = np.linspace(0, 1, 2 * max(height, width))
        mask[np.rint(y0 + (y1 - y0) * steps).astype(int), np.rint(x0 + (x1 - x0) * steps).astype(int)] = 1
    return mask


def _rings(rng: np.random.Generator, height: int, width: int) -> Mask:
    rows, columns = np.indices((height, width)) - np.array([height / 2, width / 2])[:, None, None]
    distance = np.maximum(abs(rows), abs(columns)) if rng.random() < 0.5 else np.hypot(rows, columns)
    return np.where((distance // rng.integers(1, 4)) % 2, 1, 0).astype(np.uint8)


def _corners(rng: np.random.Generator, height: int, width: int) -> Mask:
    mask = np.zeros((height, width), np.uint8)
    side = int(rng.integers(1, 6))
    for n in range(min(height, width) // side):
        mask[n * side : (n + 1) * side, n * side : (n + 1) * side] = 1
    return mask | np.fliplr(mask) if rng.random() < 0.5 else mask


def _full(rng: np.random.Generator, height: int, width: int) -> Mask:
    return np.full((height, width), rng.integers(0, 2), np.uint8)


def _combs(rng: np.random.Generator, height: int, width: int) -> Mask:
    mask = np.zeros((height, width), np.uint8)
    mask[:: rng.integers(2, 4)] = 1
    mask[:, : rng.integers(1, 3)] = 1
    return mask.T.copy() if height == width and rng.random() < 0.5 else mask


def _blobs(rng: np.random.Generator, height: int, width: int) -> Mask:
    field = ndimage.gaussian_filter(rng.random((height, width)), rng.uniform(0.8, 4))
    return np.where(field > np.quantile(field, rng.uniform(0.3, 0.8)), 1, 0).astype(np.uint8)


DRAWERS: dict[str, Callable[[np.random.Generator, int, int], Mask]] = {
    "noise": _noise,
    "two targets": _two_targets,
    "checkers": _checkers,
    "spiral": _spiral,
    "lines": _lines,
    "rings": _rings,
    "corners": _corners,
    "full": _full,
    "combs": _combs,
    "blobs": _blobs,
}


def draw_mask(kind: str, seed: int) -> Mask:
    """A small label map of a kind; odd sizes divisible by nothing."""
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(9, 40, 2))
    return DRAWERS[kind](rng, height, width)


def draw_scores(labels: Mask, seed: int) -> Scores:
    """Probabilities [2, height, width] for a label map of two targets."""
    return np.random.default_rng(seed).integers(0, 256, (2, *labels.shape)).astype(np.uint8)


def cut_regions(labels: NDArray[np.integer[Any]], side: int) -> list[Region]:
    """Blocks of `side` pixels that cover a label map, row by row."""
    height, width = labels.shape
    return [
        Region(x, y, min(side, width - x), min(side, height - y))
        for y in range(0, height, side)
        for x in range(0, width, side)
    ]


def trace_blocks(labels: Mask, scores: Scores | None, side: int) -> list[Pieces]:
    """The pieces of every block of `side` pixels, row by row."""
    regions = cut_regions(labels, side)
    return [trace_block(labels[r.slices], None if scores is None else scores[:, *r.slices], r) for r in regions]


def make_slide(labels: Mask, scale: float, bounds: Region | None = None) -> tuple[Grid, Slide]:
    """The canvas of a label map, and a slide whose level 0 has `scale` pixels for one of the canvas."""
    height, width = labels.shape
    full = Grid(int(width * scale) + 1, int(height * scale) + 1, 0.5 / scale)
    return Grid(width, height, 0.5), Slide("drawn", "drawn.svs", (full,), "manifest", bounds)


def annotate(
    labels: Mask,
    scale: float = 2.0,
    targets: Sequence[Target] = TARGETS,
    side: int = 1000,
    scores: Scores | None = None,
) -> list[Annotation]:
    """All annotations of a label map."""
    grid, slide = make_slide(labels, scale)
    return list(join_blocks(trace_blocks(labels, scores, side), targets, grid, slide.grid))


def as_bytes(annotations: list[Annotation]) -> list[tuple[object, ...]]:
    """All that an annotation says, to the last bit."""
    return [(a.target, shapely.to_wkb(a.polygon), a.area_um2, a.probability, a.shape, a.runner_up) for a in annotations]


def write_parquet(annotations: Iterable[Annotation], path: Path, slide: Slide) -> int:
    with open_parquet(path, slide) as writer:
        for batch in cut_batches(annotations):
            writer.write(Batch.of(batch))
    return writer.count

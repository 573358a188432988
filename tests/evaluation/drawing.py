"""Slides, targets and reference files drawn for the tests of this folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon

from wsiparse.evaluation.distances import Mask, find_border, measure_hd95
from wsiparse.evaluation.names import TargetNames
from wsiparse.geometry import Grid, Region
from wsiparse.ontology import Ontology, Target
from wsiparse.slides.slide import Slide

GLAND = Target("gland", "glandular structure", "tissue", (255, 0, 0), 1.0, synonyms=("crypt",))
TUMOUR = Target("tumour", "tumour tissue", "tissue", (0, 255, 0), 1.0, synonyms=("Tumor",))
AGGREGATE = Target("lymphoid aggregate", "cluster of lymphocytes", "tissue", (0, 0, 255), 1.0)
TARGETS = (GLAND, TUMOUR, AGGREGATE)
ONTOLOGY = Ontology(TARGETS)
NAMES = TargetNames(ONTOLOGY, tuple(target.name for target in TARGETS))


def draw_slide(width: int = 400, height: int = 300, mpp: float = 0.5, bounds: Region | None = None) -> Slide:
    return Slide("s1", "s1.svs", (Grid(width, height, mpp),), "manifest", bounds)


def feature(polygon: shapely.Geometry, name: str | None) -> dict[str, Any]:
    properties = {} if name is None else {"classification": {"name": name, "color": [1, 2, 3]}}
    return {"type": "Feature", "geometry": shapely.geometry.mapping(polygon), "properties": properties}


def write_features(path: Path, features: Iterable[tuple[shapely.Geometry, str | None]]) -> Path:
    collection = {"type": "FeatureCollection", "features": [feature(polygon, name) for polygon, name in features]}
    path.write_text(json.dumps(collection))
    return path


def cut_regions(grid: Grid, side: int) -> Iterator[Region]:
    for y in range(0, grid.height, side):
        for x in range(0, grid.width, side):
            yield Region(x, y, side, side).intersect(grid.region)


def cut_labels(labels: NDArray[np.uint8], grid: Grid, side: int) -> Iterator[tuple[Region, NDArray[np.uint8]]]:
    for region in cut_regions(grid, side):
        yield region, labels[region.slices]


def centres_inside(polygon: Polygon | MultiPolygon, grid: Grid, slide: Slide) -> NDArray[np.bool_]:
    """The pixel-centre rule in one sentence, without a rasteriser."""
    scale = grid.scale_to(slide.grid)
    y, x = np.mgrid[: grid.height, : grid.width]
    return np.asarray(shapely.contains_xy(polygon, (x + 0.5) * scale, (y + 0.5) * scale))


def measure_mask_hd95(predicted: Mask, reference: Mask, mpp: float, percentile: float = 95.0) -> float:
    """HD95 of two whole masks [height, width]; what touches the edge of the image ends there."""
    region = Region(0, 0, predicted.shape[1], predicted.shape[0])
    one, other = (find_border(np.pad(mask, 1), region) for mask in (predicted, reference))
    return measure_hd95(one, other, mpp, percentile)

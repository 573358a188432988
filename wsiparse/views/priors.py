"""Typical shapes in a report: mean probability around a sample of each target's objects over a cohort."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from PIL import Image

from wsiparse.annotations.parquet import stream_tables
from wsiparse.errors import DamagedError, OutputError
from wsiparse.evaluation.prior import Window, average_aligned
from wsiparse.geometry import Region
from wsiparse.maps.canvas import Canvas, list_canvases, read_region
from wsiparse.maps.metadata import list_levels
from wsiparse.runs.run import Run, State
from wsiparse.views.markup import Html, embed_image, escape, join

OBJECTS = 64
"""Objects of a target that are averaged."""
SIDE = 64
"""Pixels of a window."""
SHOWN = 160
WIDTHS = 2.0
"""Width of a window, in longer sides of the median object."""


@dataclass(frozen=True)
class _Object:
    """An object by the digest of its id, so that the sample depends on no order and no chance."""

    rank: bytes
    slide: str
    center: tuple[float, float]
    """µm from the upper left of level 0."""
    extent: float
    """Longer side in µm."""


@dataclass(frozen=True)
class Prior:
    """The typical shape of a target."""

    values: Window
    objects: int
    width_um: float


Refuse = Callable[[str, OutputError], None]
"""Takes the id of a slide whose outlines or maps are damaged, and how."""


def measure_priors(run: Run, refuse: Refuse) -> dict[str, Prior]:
    """The prior of each target that was found; memory is that of the sample and of one row group of outlines.

    Slides whose outlines or maps are damaged are left out, and `refuse` is told.
    """
    sampled = _sample_objects(run, refuse).items()
    measured = {target: _measure_target(run, target, objects, refuse) for target, objects in sampled}
    return {target: prior for target, prior in measured.items() if prior}


def _measure_target(run: Run, target: str, objects: Sequence[_Object], refuse: Refuse) -> Prior | None:
    width = WIDTHS * float(np.median([found.extent for found in objects]))
    windows: list[Window] = []
    for found in objects:
        try:
            windows += _read_windows(run, target, found, width)
        except OutputError as error:
            refuse(found.slide, error)
    mean = average_aligned(windows)
    return None if mean is None else Prior(mean, len(windows), width)


def _sample_objects(run: Run, refuse: Refuse) -> dict[str, list[_Object]]:
    kept: dict[str, list[_Object]] = {}
    for slide in [row.id for row in run.rows if run.state(row.id) is State.DONE]:
        try:
            found = list(_list_objects(run, slide))
        except DamagedError as error:
            refuse(slide, error)
            continue
        for target, objects in found:
            kept[target] = heapq.nsmallest(OBJECTS, [*kept.get(target, []), *objects], key=lambda part: part.rank)
    return kept


def _list_objects(run: Run, slide: str) -> Iterator[tuple[str, list[_Object]]]:
    """The objects of each row group that may belong to the sample, by target."""
    mpp = run.summary(slide)["mpp"]
    for table in stream_tables(run.folder(slide) / "annotations.parquet", ["id", "target", "geometry"]):
        targets = table["target"].to_numpy()
        for target in np.unique(targets):
            places = np.flatnonzero(targets == target)
            yield str(target), _take_first(table.take(places), slide, mpp)


def _take_first(table: pa.Table, slide: str, mpp: float) -> list[_Object]:
    ranks = [hashlib.sha256(name.encode()).digest() for name in table["id"].to_pylist()]
    first = heapq.nsmallest(OBJECTS, range(len(ranks)), key=ranks.__getitem__)
    boxes = shapely.bounds(shapely.from_wkb(table["geometry"].take(first).to_numpy())) * mpp  # [objects, 4] in µm
    return [_make_object(ranks[n], slide, box) for n, box in zip(first, boxes, strict=True)]


def _make_object(rank: bytes, slide: str, box: NDArray[np.float64]) -> _Object:
    left, top, right, bottom = box.tolist()
    return _Object(rank, slide, ((left + right) / 2, (top + bottom) / 2), max(right - left, bottom - top))


def _read_windows(run: Run, target: str, found: _Object, width: float) -> Iterator[Window]:
    """That of the object; none where the slide's maps were deleted."""
    for canvas in list_canvases(run.folder(found.slide) / "parse.zarr"):
        names = [known.name for known in canvas.targets]
        if target in names:
            yield _read_window(canvas, names.index(target), found.center, width)


def _read_window(canvas: Canvas, channel: int, center: tuple[float, float], width: float) -> Window:
    """Probabilities [SIDE, SIDE] of a square, from the coarsest level that is as fine; 0 beyond the slide."""
    levels = list_levels(canvas.grid)
    number = max((n for n, level in enumerate(levels) if level.mpp <= width / SIDE), default=0)
    grid = levels[number]
    side = max(round(width / grid.mpp), 1)
    x, y = (round(place / grid.mpp - side / 2) for place in center)
    region = Region(x, y, side, side)
    inside = region.intersect(grid.region)
    values = np.zeros((side, side), np.uint8)
    values[inside.shift(-x, -y).slices] = read_region(canvas, inside, number)[channel]
    shown = Image.fromarray(values).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(shown, np.float64) / 255


def draw_priors(priors: Mapping[str, Prior], colors: Mapping[str, Sequence[int]]) -> Html:
    """A picture a target, from white where its probability is 0 to its colour where it is 1."""
    figures = join(_draw_prior(target, prior, colors[target]) for target, prior in priors.items())
    return Html(f'<div class="slides">{figures}</div>')


def _draw_prior(target: str, prior: Prior, color: Sequence[int]) -> Html:
    shares = prior.values[..., None].clip(0, 1)  # [h, w, 1]
    pixels = np.rint(255 * (1 - shares) + np.array(color) * shares).astype(np.uint8)
    picture = Image.fromarray(pixels).resize((SHOWN, SHOWN), Image.Resampling.BILINEAR)
    said = f"{target}: {prior.objects} objects, {prior.width_um:.0f} µm wide"
    return Html(f"<figure>{embed_image(picture, said)}<figcaption>{escape(said)}</figcaption></figure>")

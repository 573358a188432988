"""The results of a run as Python sees them: lazy maps and tables of outlines."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wsiparse.annotations.parquet import read_parquet
from wsiparse.errors import DamagedError, InputError
from wsiparse.geometry import Grid, Region
from wsiparse.maps.canvas import Canvas, list_canvases, read_region
from wsiparse.runs.run import FINISHED, Run, State

if TYPE_CHECKING:
    import geopandas


@dataclass(frozen=True)
class ProbabilityMap:
    """The map of one target as a lazy array uint8 [Y, X], p = value / 255: only what is indexed is read.

    NumPy, napari and Dask take it as an array.
    """

    canvas: Canvas
    channel: int

    @property
    def grid(self) -> Grid:
        """The map as a raster over the slide."""
        return self.canvas.grid

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.grid.height, self.grid.width

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Of the stored values."""
        return np.dtype(np.uint8)

    @property
    def ndim(self) -> int:
        """Two: y and x."""
        return 2

    def read(self, region: Region) -> NDArray[np.uint8]:
        """Values [h, w] of a region in pixels of the map."""
        values: NDArray[np.uint8] = read_region(self.canvas, region)[self.channel]
        return values

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        axes = np.ogrid[: self.shape[0], : self.shape[1]]
        rows, columns = (np.asarray(np.broadcast_to(axis, self.shape)[key]) for axis in axes)  # of each picked pixel
        if not rows.size:
            return np.zeros(rows.shape, np.uint8)
        y, x = _drop_repeats(rows), _drop_repeats(columns)
        low_y, low_x, high_y, high_x = (int(f(a)) for f in (np.min, np.max) for a in (y, x))
        values = self.read(Region(low_x, low_y, high_x - low_x + 1, high_y - low_y + 1))
        picked: NDArray[np.uint8] = values[y - low_y, x - low_x]
        return picked

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.read(self.grid.region).astype(dtype or np.uint8)


def _drop_repeats(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places without the axes along which NumPy repeats them: those of slices take no memory."""
    return places[tuple(slice(None) if step else slice(1) for step in places.strides)]


@dataclass(frozen=True)
class Results:
    """What a run found, slide by slide; where the run has one slide its id may be left out."""

    run: Run

    @property
    def slides(self) -> tuple[str, ...]:
        """Ids of the slides, as in the manifest."""
        return tuple(row.id for row in self.run.rows)

    def probability(self, target: str, slide: str | None = None) -> ProbabilityMap:
        """The probability map of a target, by its name; InputError where the slide has none."""
        name = find_done(self.run, slide)
        canvases = find_maps(self.run, name)
        maps = {known.name: (canvas, n) for canvas in canvases for n, known in enumerate(canvas.targets)}
        if target not in maps:
            folder = self.run.folder(name) / "parse.zarr"
            raise InputError(f"{folder}: no map of {target!r}; expected one of {', '.join(maps)}")
        return ProbabilityMap(*maps[target])

    def annotations(self, slide: str | None = None) -> geopandas.GeoDataFrame:
        """The outlines of a slide, geometry in level-0 pixels; InputError where it has none because it is not done."""
        return read_parquet(self.run.folder(find_done(self.run, slide)) / "annotations.parquet")

    def summary(self, slide: str | None = None) -> dict[str, Any]:
        """Areas, counts, mean probabilities and seconds of a slide; InputError where it is not finished."""
        return self.run.summary(_find(self.run, slide, FINISHED))


def find_done(run: Run, slide: str | None = None) -> str:
    """The id of a slide that has maps and outlines: the one named, or the run's only one.

    Raises InputError for a slide that is unknown or not done, as where no tissue was found on it.
    """
    return _find(run, slide, {State.DONE})


def _find(run: Run, slide: str | None, states: Container[State]) -> str:
    name = _choose(run, slide)
    if (state := run.state(name)) not in states:
        raise InputError(f"{run.path}: slide {name!r} is {state}, expected one that is done; see `wsiparse status`")
    return name


def _choose(run: Run, slide: str | None) -> str:
    known = [row.id for row in run.rows]
    shown = ", ".join(known[:5]) + (" …" if len(known) > 5 else "")
    if slide is None and len(known) != 1:
        raise InputError(f"{run.path}: {len(known)} slides; say which: {shown}")
    if slide is not None and slide not in known:
        raise InputError(f"{run.path}: no slide {slide!r}; expected one of {shown}")
    return slide or known[0]


def find_maps(run: Run, slide: str) -> tuple[Canvas, ...]:
    """The maps of a slide that is done, one a pass; DamagedError where they are gone, as to save room."""
    store = run.folder(slide) / "parse.zarr"
    canvases = list_canvases(store)
    if not canvases:
        raise DamagedError(
            f"{store}: no maps there; bring them back, or delete {store.parent} and run again to have them made anew"
        )
    return canvases

"""The results of a run as Python sees them: lazy maps and tables of outlines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wsiparse.annotations.parquet import read_parquet
from wsiparse.errors import InputError
from wsiparse.geometry import Grid, Region
from wsiparse.maps.canvas import Canvas, list_canvases, read_region
from wsiparse.runs.run import Run

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
        rows, columns = np.s_[key] if isinstance(key, tuple) else (key, slice(None))
        y, x = (np.arange(size)[part] for size, part in zip(self.shape, (rows, columns), strict=True))
        low_y, low_x, high_y, high_x = (
            int(f(a)) for f in (np.min, np.max) for a in (np.atleast_1d(y), np.atleast_1d(x))
        )
        values = self.read(Region(low_x, low_y, high_x - low_x + 1, high_y - low_y + 1))
        picked: NDArray[np.uint8] = values[y - low_y][..., x - low_x]
        return picked

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.read(self.grid.region).astype(dtype or np.uint8)


@dataclass(frozen=True)
class Results:
    """What a run found, slide by slide; where the run has one slide its id may be left out."""

    run: Run

    @property
    def slides(self) -> tuple[str, ...]:
        """Ids of the slides, as in the manifest."""
        return tuple(row.id for row in self.run.rows)

    def probability(self, target: str, slide: str | None = None) -> ProbabilityMap:
        """The probability map of a target, by its name."""
        folder = self.run.folder(self._choose(slide)) / "parse.zarr"
        for canvas in list_canvases(folder):
            names = [known.name for known in canvas.targets]
            if target in names:
                return ProbabilityMap(canvas, names.index(target))
        raise InputError(f"{folder}: no map of {target!r}; expected a target of the run: see `wsiparse status`")

    def annotations(self, slide: str | None = None) -> geopandas.GeoDataFrame:
        """The outlines of a slide, geometry in level-0 pixels."""
        return read_parquet(self.run.folder(self._choose(slide)) / "annotations.parquet")

    def summary(self, slide: str | None = None) -> dict[str, Any]:
        """Areas, counts, mean probabilities and seconds of a slide."""
        return self.run.summary(self._choose(slide))

    def _choose(self, slide: str | None) -> str:
        if slide is None and len(self.slides) != 1:
            raise InputError(f"{self.run.path}: {len(self.slides)} slides; say which: {', '.join(self.slides[:5])} …")
        if slide is not None and slide not in self.slides:
            raise InputError(f"{self.run.path}: no slide {slide!r}; expected one of {', '.join(self.slides[:5])} …")
        return slide or self.slides[0]

"""A finished slide as the evaluation sees it: its label maps and outlines, also where it showed no tissue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from wsiparse.annotations.outlines import Polygons
from wsiparse.annotations.parquet import read_parquet
from wsiparse.evaluation.evaluate import Prediction, open_prediction
from wsiparse.geometry import Grid, Region
from wsiparse.maps.labels import LabelImage, list_labels
from wsiparse.maps.recognition import Labels
from wsiparse.ontology import Target
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.references import describe_slide
from wsiparse.runs.results import find_maps
from wsiparse.runs.run import Run, State
from wsiparse.runs.targets import narrow_targets
from wsiparse.slides.levels import cut_region
from wsiparse.slides.slide import Slide
from wsiparse.tiles.plan import choose_grid

BLANK_SIDE = 4096
"""Side of the regions in which a slide without tissue is compared."""


@dataclass(frozen=True)
class FinishedPart:
    """One group on one slide."""

    prediction: Prediction
    image: LabelImage | None
    """None on a slide without tissue."""


@dataclass(frozen=True)
class FinishedSlide:
    """A slide that was parsed, or that showed no tissue."""

    run: Run
    slide: Slide
    targets: tuple[Target, ...]
    """What was looked for on it."""

    @cached_property
    def parts(self) -> list[FinishedPart]:
        """Its label maps."""
        if self._is_blank:
            return [FinishedPart(prediction, None) for prediction in _predict_nothing(self.slide, self.targets)]
        images = [image for canvas in find_maps(self.run, self.slide.id) for image in list_labels(canvas)]
        return [FinishedPart(open_prediction(image), image) for image in images]

    @property
    def finest_mpp(self) -> float:
        """The finest scale at which it is compared."""
        return min(part.prediction.grid.mpp for part in self.parts)

    @cached_property
    def objects(self) -> dict[str, Polygons]:
        """The outlines that people see, by target."""
        if self._is_blank:
            return {}
        table = read_parquet(self.run.folder(self.slide.id) / "annotations.parquet")
        return {str(target): part.geometry.to_numpy() for target, part in table.groupby("target")}

    @property
    def _is_blank(self) -> bool:
        return self.run.state(self.slide.id) is State.EMPTY


def find_finished(run: Run, row: ManifestRow) -> FinishedSlide:
    """The finished slide of a row; SlideError where its file is gone, or another one now."""
    targets = narrow_targets(run.targets, row, run.record["config"]["site"])
    return FinishedSlide(run, describe_slide(run, row), targets)


def _predict_nothing(slide: Slide, targets: tuple[Target, ...]) -> Iterator[Prediction]:
    """A slide on which no tissue was found says that none of its targets is there, and is scored for it."""
    for mpp, group in dict.fromkeys((target.mpp, target.group) for target in targets):
        grid = choose_grid(slide, mpp)
        members = tuple(target for target in targets if (target.mpp, target.group) == (mpp, group))
        yield Prediction(grid, members, _blank_regions(grid), _Blank(len(members)))


@dataclass(frozen=True)
class _Blank:
    """Probabilities of 0 for each of so many targets."""

    targets: int

    def __call__(self, region: Region) -> NDArray[np.uint8]:
        return np.zeros((self.targets, region.height, region.width), np.uint8)


def _blank_regions(grid: Grid) -> Iterator[tuple[Region, Labels]]:
    for region in cut_region(grid.region, (BLANK_SIDE, BLANK_SIDE)):
        yield region, np.zeros((region.height, region.width), np.uint8)

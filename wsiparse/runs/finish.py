"""The end of a slide: what blocks and squares left on disk becomes outlines, whole pyramids and the summary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsiparse.annotations.batches import Batch
from wsiparse.annotations.geojson import open_geojson
from wsiparse.annotations.identity import identify
from wsiparse.annotations.parquet import open_parquet
from wsiparse.annotations.polygons import join_batches
from wsiparse.files import settle, write_json
from wsiparse.maps.labels import build_label_pyramid
from wsiparse.maps.pyramid import build_pyramid
from wsiparse.maps.shards import remove_partials
from wsiparse.ontology import Target
from wsiparse.runs.clock import StageClock, Times, find_model_wait, sum_seconds
from wsiparse.runs.judge import Judgement
from wsiparse.runs.retry import retry_passing
from wsiparse.runs.run import State, refuse_lost
from wsiparse.runs.squares import derive_square, gather_blocks, list_labels, list_squares, remove_pieces, require_pieces
from wsiparse.runs.work import PassWork, SlideWork


@dataclass
class Tally:
    """Sums over the outlines of one target."""

    objects: int = 0
    area_um2: float = 0.0
    weighted: float = field(default=0.0, repr=False)

    def add(self, areas_um2: NDArray[np.float64], probabilities: NDArray[np.float64]) -> None:
        """Count outlines."""
        self.objects += len(areas_um2)
        self.area_um2 = _add_in_turn(self.area_um2, areas_um2)
        self.weighted = _add_in_turn(self.weighted, areas_um2 * probabilities)

    @property
    def mean_probability(self) -> float | None:
        """Mean over the outlined area; None where nothing was found."""
        return self.weighted / self.area_um2 if self.area_um2 else None


def _add_in_turn(total: float, values: NDArray[np.float64]) -> float:
    """The total after each value was added to it: another order would round otherwise, and follow the batches."""
    return float(np.cumsum(np.append(total, values))[-1])


@retry_passing
def finish_slide(work: SlideWork, judgement: Judgement, times: Sequence[Times]) -> dict[str, Any]:
    """Turn a slide's finished canvases into its results; the summary is written last and says that all is there.

    What no other process has derived of the blocks is derived here. Doing it again gives the same files.
    """
    refuse_lost(Path(work.folder).parent)
    remove_partials(Path(work.folder))
    derived = [derive_square(square) for square in list_squares(work, judgement)]
    clock = StageClock()
    tallies = {target.name: Tally() for part in work.passes for target in part.canvas.targets}
    if work.passes:
        with clock.measure("outline"):
            _write_annotations(work, judgement, tallies)
        with clock.measure("pyramid"):
            _complete_pyramids(work, judgement)
    remove_pieces(work)
    with clock.measure("write"):
        settle(Path(work.folder))
    summary = _summarize(work, judgement, tallies, [*times, *derived, clock.stop()])
    write_json(Path(work.folder, "summary.json"), summary, within=Path(work.folder).parent)
    return summary


def _complete_pyramids(work: SlideWork, judgement: Judgement) -> None:
    for part in work.passes:
        build_pyramid(part.canvas)
        for labels in list_labels(part.canvas, judgement):
            build_label_pyramid(labels.image)


def _write_annotations(work: SlideWork, judgement: Judgement, tallies: dict[str, Tally]) -> None:
    folder, targets = Path(work.folder), [target for part in work.passes for target in part.canvas.targets]
    with (
        open_geojson(folder / "annotations.geojson.gz", work.slide, targets) as geojson,
        open_parquet(folder / "annotations.parquet", work.slide) as parquet,
    ):
        for batch in identify(_annotate_slide(work, judgement), work.slide.id):
            geojson.write(batch)
            parquet.write(batch)
            _count(batch, tallies)
        require_pieces(work, judgement)


def _count(batch: Batch, tallies: dict[str, Tally]) -> None:
    areas, means = (np.asarray(batch.measures[name], np.float64) for name in ("area_um2", "probability"))
    names = np.array(batch.targets)
    for name in dict.fromkeys(batch.targets):
        tallies[name].add(areas[names == name], means[names == name])


def _annotate_slide(work: SlideWork, judgement: Judgement) -> Iterator[Batch]:
    for part in work.passes:
        for labels in list_labels(part.canvas, judgement):
            pieces = gather_blocks(labels, part.plan.blocks)
            yield from join_batches(pieces, labels.image.targets, part.canvas.grid, work.slide.grid, work.simplify)


def _summarize(
    work: SlideWork, judgement: Judgement, tallies: dict[str, Tally], times: Sequence[Times]
) -> dict[str, Any]:
    waited = find_model_wait(times)
    return {
        "slide": work.slide.id,
        "state": State.DONE if work.passes else State.EMPTY,
        "path": work.slide.path,
        "fingerprint": work.slide.fingerprint,
        "mpp": work.slide.mpp,
        "mpp_source": work.slide.mpp_source,
        "tissue_share": work.tissue_share,
        "pen_share": work.pen_share,
        "tiles": sum(len(block.cores) for part in work.passes for block in part.plan.blocks),
        "unreadable_pixels": judgement.unreadable_pixels,
        "targets": list(_describe_targets(work.passes, tallies, judgement)),
        "seconds": {stage: round(seconds, 4) for stage, seconds in sum_seconds(times).items()},
        "model_wait_share": None if waited is None else round(waited, 4),
    }


def _describe_targets(
    passes: Iterable[PassWork], tallies: dict[str, Tally], judgement: Judgement
) -> Iterator[dict[str, Any]]:
    for part in passes:
        for target in part.canvas.targets:
            judged = judgement.verdicts[target.name].describe()
            yield {**_describe_target(target, tallies[target.name]), **judged, "pass": Path(part.canvas.path).name}


def _describe_target(target: Target, tally: Tally) -> dict[str, Any]:
    return {
        "target": target.name,
        "group": target.group,
        "objects": tally.objects,
        "area_um2": round(tally.area_um2, 3),
        "mean_probability": None if tally.mean_probability is None else round(tally.mean_probability, 4),
    }

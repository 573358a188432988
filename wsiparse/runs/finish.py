"""The end of a slide: pyramids, label maps, outlines and the summary, from the canvases on disk, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.geojson import open_geojson
from wsiparse.annotations.instances import InstanceTracing, trace_instance_block
from wsiparse.annotations.parquet import open_parquet
from wsiparse.annotations.pieces import Pieces
from wsiparse.annotations.polygons import join_blocks
from wsiparse.files import write_json
from wsiparse.geometry import Region
from wsiparse.maps.labels import LabelImage, build_label_pyramid, create_labels, read_scores, write_labels
from wsiparse.maps.pyramid import build_pyramid
from wsiparse.maps.recognition import recognize
from wsiparse.maps.shards import remove_partials
from wsiparse.ontology import Target, list_groups
from wsiparse.runs.clock import StageClock
from wsiparse.runs.judge import Judgement, judge_work
from wsiparse.runs.retry import retry_passing
from wsiparse.runs.run import State
from wsiparse.runs.work import PassWork, SlideWork
from wsiparse.tiles.plan import Block


class Record(Protocol):
    """What a finished block tells."""

    @property
    def tiles(self) -> int:
        """Tiles predicted."""

    @property
    def seconds(self) -> dict[str, float]:
        """Wall seconds by stage."""


@dataclass
class Tally:
    """Sums over the outlines of one target."""

    objects: int = 0
    area_um2: float = 0.0
    weighted: float = field(default=0.0, repr=False)

    def add(self, annotation: Annotation) -> None:
        """Count one outline."""
        self.objects += 1
        self.area_um2 += annotation.area_um2
        self.weighted += annotation.area_um2 * (annotation.probability or 0.0)

    @property
    def mean_probability(self) -> float | None:
        """Mean over the outlined area; None where nothing was found."""
        return self.weighted / self.area_um2 if self.area_um2 else None


@retry_passing
def finish_slide(work: SlideWork, records: Sequence[Record]) -> dict[str, Any]:
    """Turn a slide's finished canvases into its results; the summary is written last and says that all is there.

    Doing it again gives the same files.
    """
    remove_partials(Path(work.folder))
    clock = StageClock()
    for record in records:
        clock.add(record.seconds)
    with clock.measure("judge"):
        judgement = judge_work(work)
    tallies = {target.name: Tally() for part in work.passes for target in part.canvas.targets}
    if work.passes:
        _write_maps(work, clock)
        with clock.measure("outline"):
            _write_annotations(work, judgement, tallies)
    summary = _summarize(work, judgement, tallies, clock)
    write_json(Path(work.folder, "summary.json"), summary)
    return summary


def _write_maps(work: SlideWork, clock: StageClock) -> None:
    for part in work.passes:
        with clock.measure("pyramid"):
            build_pyramid(part.canvas)


def _write_annotations(work: SlideWork, judgement: Judgement, tallies: dict[str, Tally]) -> None:
    folder, targets = Path(work.folder), [target for part in work.passes for target in part.canvas.targets]
    with (
        open_geojson(folder / "annotations.geojson.gz", work.slide, targets) as geojson,
        open_parquet(folder / "annotations.parquet", work.slide) as parquet,
    ):
        for annotation in _annotate_slide(work, judgement):
            geojson.write(annotation)
            parquet.write(annotation)
            tallies[annotation.target].add(annotation)


def _annotate_slide(work: SlideWork, judgement: Judgement) -> Iterator[Annotation]:
    for part in work.passes:
        for group in list_groups(part.canvas.targets):
            yield from _annotate_group(work, part, group, judgement)


def _annotate_group(work: SlideWork, part: PassWork, group: str, judgement: Judgement) -> Iterator[Annotation]:
    """Outlines of a group, tracing the blocks of its label map as it is written."""
    image = create_labels(part.canvas, group)
    tracing = InstanceTracing.of_targets(image.targets, part.canvas.grid.mpp)
    cuts = judgement.cut_targets(image.targets)
    pieces = (_label_block(image, block, tracing, cuts) for block in part.plan.blocks)
    yield from join_blocks(pieces, image.targets, part.canvas.grid, work.slide.grid, work.simplify)
    build_label_pyramid(image)


def _label_block(image: LabelImage, block: Block, tracing: InstanceTracing, cuts: Sequence[int]) -> Pieces:
    """Write a block's labels and trace it, with as much around it as telling its objects apart takes."""
    probabilities = read_scores(image, block.region.grow(tracing.halo))  # [K, h + 2 halo, w + 2 halo]
    labels = recognize(probabilities, cuts)
    inside = Region(tracing.halo, tracing.halo, block.region.width, block.region.height)
    write_labels(image, block, labels[inside.slices])
    return trace_instance_block(labels, probabilities, block.region, tracing)


def _summarize(work: SlideWork, judgement: Judgement, tallies: dict[str, Tally], clock: StageClock) -> dict[str, Any]:
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
        "seconds": {stage: round(seconds, 4) for stage, seconds in clock.seconds.items()},
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

"""The results of a run in the formats of other tools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.asap import write_asap
from wsiparse.annotations.coco import write_coco
from wsiparse.annotations.geojson import copy_geojson
from wsiparse.annotations.parquet import check_parquet, count_rows, stream_parquet
from wsiparse.annotations.qupath import write_qupath
from wsiparse.annotations.store import write_store
from wsiparse.annotations.table import write_table
from wsiparse.errors import DamagedError, InputError, SlideError, WsiparseError
from wsiparse.geometry import Grid
from wsiparse.maps.canvas import Canvas
from wsiparse.maps.labels import list_labels
from wsiparse.maps.ngff04 import export_ngff04
from wsiparse.maps.ome_tiff import export_ome_tiff
from wsiparse.maps.spatialdata import SpatialSource, export_spatialdata
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.references import describe_slide
from wsiparse.runs.results import find_maps
from wsiparse.runs.run import EXPORTS, Run, State
from wsiparse.slides.slide import Slide


@dataclass(frozen=True)
class SlideOutput:
    """What a run found on one slide, opened as far as a format needs it."""

    run: Run
    row: ManifestRow

    @property
    def id(self) -> str:
        """The slide's id."""
        return self.row.id

    @cached_property
    def slide(self) -> Slide:
        """The slide itself, whose file must be where it was: its exact size and bounds stand nowhere else."""
        return describe_slide(self.run, self.row)

    @cached_property
    def remembered(self) -> Slide:
        """The slide as far as its summary knows it: its id and mpp, but neither its size nor bounds."""
        summary = self.run.summary(self.id)
        return Slide(self.id, self.row.slide, (Grid(0, 0, summary["mpp"]),), summary["mpp_source"])

    @property
    def folder(self) -> Path:
        """Where the run wrote."""
        return self.run.folder(self.row.id)

    @property
    def canvases(self) -> tuple[Canvas, ...]:
        """One a pass; DamagedError where they are gone."""
        return find_maps(self.run, self.id)

    @property
    def outlines(self) -> Path:
        """The file of all outlines."""
        return self.folder / "annotations.parquet"

    def annotations(self) -> Iterator[Annotation]:
        """All outlines, read as they are asked for; DamagedError at once where their file is not whole."""
        count_rows(self.outlines)
        return stream_parquet(self.outlines)


@dataclass(frozen=True)
class Request:
    """What is to be exported, and where to."""

    format: str
    """One of `FORMATS`."""
    slide: str | None = None
    """Id of one slide; None takes all that are done."""
    folder: Path | None = None
    """None stands for export/<format> in the run's folder."""
    level: int = 0
    """Level of the maps that becomes the finest."""


TROUBLES = (SlideError, DamagedError, InputError)
"""What is the affair of one slide: its file is gone, its results are damaged, its maps have no such level."""
Refuse = Callable[[str, WsiparseError], None]
"""Takes the id of a slide that cannot be exported, and why."""


def _stop(slide: str, error: WsiparseError) -> None:
    raise error


@dataclass(frozen=True)
class Destination:
    """Where exports go, from which level of the maps downwards, and who is told of slides that cannot go there."""

    folder: Path
    level: int
    refuse: Refuse


Export = Callable[[Sequence[SlideOutput], Destination], Iterator[Path]]
"""Writes the results of slides and tells each path it wrote."""
_ExportSlide = Callable[[SlideOutput, Destination], Iterator[Path]]


def export_run(run: Run, request: Request, refuse: Refuse = _stop) -> Iterator[Path]:
    """Write finished slides of a run as another tool reads them; yields each path when it is written.

    Where a format asks for a slide's file and it is gone, its results are damaged or its maps have no such level,
    `refuse` is called and the others are written; unless given it raises the error. Raises InputError where the format
    is not known or the slide not finished.
    """
    if request.format not in FORMATS:
        raise InputError(f"format {request.format!r}: expected one of {', '.join(FORMATS)}")
    if request.level < 0:
        raise InputError(f"level {request.level}: expected 0, the finest, or more")
    outputs = _choose_slides(run, request.slide)
    folder = request.folder or run.path / EXPORTS / request.format
    return FORMATS[request.format](outputs, Destination(folder, request.level, refuse))


def count_unfinished(run: Run) -> Counter[State]:
    """How many slides an export of the whole run leaves out, by their states; nothing where all are done."""
    states = Counter(run.state(row.id) for row in run.rows)
    del states[State.DONE]
    return states


def _choose_slides(run: Run, slide_id: str | None) -> list[SlideOutput]:
    rows = [row for row in run.rows if slide_id in {None, row.id}]
    if not rows:
        raise InputError(f"{run.path}: no slide {slide_id!r}; `wsiparse status --json` names those of the run")
    done = [SlideOutput(run, row) for row in rows if run.state(row.id) is State.DONE]
    if not done:
        found = f"slide {slide_id!r} is {run.state(slide_id)}" if slide_id else "no slide is done"
        raise InputError(f"{run.path}: {found}, nothing to export; see `wsiparse status`")
    return done


def _export_geojson(output: SlideOutput, to: Destination) -> Iterator[Path]:
    path = to.folder / f"{output.id}.geojson.gz"
    copy_geojson(output.folder / "annotations.geojson.gz", path)
    yield path


def _export_qupath(output: SlideOutput, to: Destination) -> Iterator[Path]:
    path = to.folder / f"{output.id}-qupath"
    write_qupath(output.annotations(), path, output.slide, output.run.targets)
    yield path


def _export_asap(output: SlideOutput, to: Destination) -> Iterator[Path]:
    path = to.folder / f"{output.id}.xml"
    write_asap(output.annotations(), path, output.run.targets)
    yield path


def _export_csv(output: SlideOutput, to: Destination) -> Iterator[Path]:
    path = to.folder / f"{output.id}.csv"
    write_table(output.annotations(), path, output.remembered)
    yield path


def _export_store(output: SlideOutput, to: Destination) -> Iterator[Path]:
    path = to.folder / f"{output.id}.db"
    write_store(output.annotations(), path, output.remembered)
    yield path


def _export_ome_zarr(output: SlideOutput, to: Destination) -> Iterator[Path]:
    for canvas in output.canvases:
        path = to.folder / f"{output.id}-{Path(canvas.path).name}.ome.zarr"
        export_ngff04(canvas, path, to.level)
        yield path


def _export_ome_tiff(output: SlideOutput, to: Destination) -> Iterator[Path]:
    for canvas in output.canvases:
        for image in list_labels(canvas):
            path = to.folder / f"{output.id}-{Path(canvas.path).name}-{image.path.name}.ome.tiff"
            export_ome_tiff(image, path, to.level)
            yield path


def _export_spatialdata(output: SlideOutput, to: Destination) -> Iterator[Path]:
    path = to.folder / f"{output.id}.spatialdata.zarr"
    check_parquet(output.outlines)
    outlines = output.outlines if count_rows(output.outlines) else None
    source = SpatialSource(output.canvases, outlines, output.remembered.mpp)
    export_spatialdata(source, path, to.level)
    yield path


def _export_coco(outputs: Sequence[SlideOutput], to: Destination) -> Iterator[Path]:
    path, slides = to.folder / "coco.json", []
    for output in outputs:
        try:
            check_parquet(output.outlines)  # the others are in the same file
            slides.append((output.slide, output.annotations()))
        except TROUBLES as error:
            to.refuse(output.id, error)
    if slides:
        write_coco(slides, path, outputs[0].run.targets)
        yield path


def _each(export: _ExportSlide) -> Export:
    def export_all(outputs: Sequence[SlideOutput], to: Destination) -> Iterator[Path]:
        for output in outputs:
            try:
                yield from export(output, to)
            except TROUBLES as error:
                to.refuse(output.id, error)

    return export_all


FORMATS: dict[str, Export] = {
    "geojson": _each(_export_geojson),
    "qupath": _each(_export_qupath),
    "ome-zarr-0.4": _each(_export_ome_zarr),
    "ome-tiff": _each(_export_ome_tiff),
    "coco": _export_coco,
    "asap": _each(_export_asap),
    "csv": _each(_export_csv),
    "annotation-store": _each(_export_store),
    "spatialdata": _each(_export_spatialdata),
}
"""By the name that the command line takes."""

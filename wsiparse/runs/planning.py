"""The passes over one slide, planned and refused before anything is predicted, and their empty maps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from wsiparse.errors import MppError, OutputError, PlanError, RunError
from wsiparse.files import remove_whole_folder
from wsiparse.maps.canvas import Canvas, create_canvas, create_store, list_canvases
from wsiparse.maps.labels import create_labels
from wsiparse.maps.metadata import list_levels
from wsiparse.maps.pyramid import create_levels
from wsiparse.ontology import list_groups
from wsiparse.runs.machine import free_disk, used_disk
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.order import Order
from wsiparse.runs.passes import Pass, choose_tiling
from wsiparse.runs.retry import retry_passing
from wsiparse.runs.room import measure_room
from wsiparse.runs.run import refuse_lost
from wsiparse.runs.work import PassWork, SlideWork
from wsiparse.slides.open import describe, make_reader
from wsiparse.slides.slide import Reader, Slide
from wsiparse.slides.thumbnail import find_lost, read_thumbnail
from wsiparse.slides.tissue import TissueMask, find_tissue
from wsiparse.tiles.budget import Budget, project_budget, refuse_unaffordable
from wsiparse.tiles.plan import TilePlan, choose_grid, plan_tiles

THUMBNAIL_MPP = 8.0
"""Scale at which tissue is looked for."""


@dataclass(frozen=True)
class SlidePlan:
    """A slide as opened, where its tissue lies, and the plan of each pass."""

    slide: Slide
    tissue: TissueMask | None
    passes: tuple[tuple[Pass, TilePlan], ...]


def plan_slide(order: Order, row: ManifestRow) -> SlidePlan:
    """Open a slide, find its tissue and plan its passes; nothing is written."""
    slide = _describe_slide(order, row)
    with closing(make_reader(slide)) as reader:
        tissue = _find_tissue(reader) if order.config.tissue else None
    passes = tuple((part, _plan_pass(order, slide, part, tissue)) for part in order.passes_of(row))
    return SlidePlan(slide, tissue, passes)


def _describe_slide(order: Order, row: ManifestRow) -> Slide:
    """The slide, at the scale of the manifest, else of its file, else of the settings."""
    try:
        return describe(row.slide, id=row.id, mpp=row.mpp)
    except MppError:
        if row.mpp or not order.config.mpp:
            raise
        return replace(describe(row.slide, id=row.id, mpp=order.config.mpp), mpp_source="settings")


def _find_tissue(reader: Reader) -> TissueMask:
    """The slide's tissue, and whatever its thumbnail cannot show: other levels may be sound."""
    tissue = find_tissue(*read_thumbnail(reader, THUMBNAIL_MPP))
    if not reader.unreadable_pixels:
        return tissue
    return replace(tissue, mask=tissue.mask | find_lost(reader, THUMBNAIL_MPP))


def _plan_pass(order: Order, slide: Slide, part: Pass, tissue: TissueMask | None) -> TilePlan:
    grid = choose_grid(slide, part.mpp)
    tiling = choose_tiling(part, grid, order.tiles, order.config.overlap)
    return plan_tiles(slide, replace(tiling, block_tiles=order.config.block_tiles), tissue)


def project_pass(order: Order, part: Pass, plan: TilePlan) -> Budget:
    """What a pass will take of memory and disk."""
    return project_budget(plan, len(part.targets), order.tiles.count_bytes(plan.tiling.tile), order.config.window)


@retry_passing
def prepare_slide(order: Order, row: ManifestRow) -> SlideWork:
    """Plan a slide, refuse what cannot fit, and make its empty maps or take up those that are there."""
    planned, folder = plan_slide(order, row), order.folder(row)
    if not order.anew:
        planned = _cut_as_begun(folder, planned)
    refuse_lost(Path(order.output))
    _make_room(folder, planned, order.anew)
    for _, misfit in find_misfits(order, planned):
        raise misfit
    works = tuple(_make_pass(folder, part, plan) for part, plan in planned.passes if plan.blocks)
    if works:
        create_store(folder / "parse.zarr", [Path(work.canvas.path).name for work in works])
    tissue = planned.tissue
    shares = (tissue.share, tissue.pen_share) if tissue else (None, None)
    return SlideWork(planned.slide, str(folder), order.model, works, order.rules, order.config.simplify, *shares)


def _cut_as_begun(folder: Path, planned: SlidePlan) -> SlidePlan:
    """The plan in blocks of the size that the slide was begun in, if it was: what is stored stays, and is as good."""
    try:
        sizes = {canvas.tiling.block_tiles for canvas in list_canvases(folder / "parse.zarr")}
    except OutputError:  # damaged, and refused as such
        return planned
    if len(sizes) != 1:
        return planned
    (size,) = sizes
    passes = (
        (part, plan_tiles(planned.slide, replace(plan.tiling, block_tiles=size), planned.tissue))
        for part, plan in planned.passes
    )
    return replace(planned, passes=tuple(passes))


def _make_room(folder: Path, planned: SlidePlan, anew: bool) -> None:
    """Refuse what another plan began in a slide's folder, or remove it."""
    if not (folder / "parse.zarr").exists() or _is_of(planned, folder):
        return
    if not anew:
        raise RunError(
            f"{folder} was begun under another plan: another mpp or other targets, or the slide's file was exchanged; "
            "with --retry-failed it goes on under the old ones, or is begun anew"
        )
    remove_whole_folder(folder)


def _is_of(planned: SlidePlan, folder: Path) -> bool:
    """Whether all canvases of a slide's folder are of a plan, and for its targets: of these a digest says nothing."""
    wanted = {plan.digest: part.targets for part, plan in planned.passes}
    try:
        return all(wanted.get(c.digest) == c.targets for c in list_canvases(folder / "parse.zarr"))
    except OutputError:
        return False


def find_misfits(order: Order, planned: SlidePlan) -> Iterator[tuple[Pass, PlanError]]:
    """Passes that need more memory than there is, or together more disk; what they wrote already is theirs."""
    folder = Path(order.output, planned.slide.id)
    room = order.room or measure_room(order.config)
    disk = free_disk(folder) + used_disk(folder)
    for part, plan in planned.passes:
        budget = project_pass(order, part, plan)
        try:
            refuse_unaffordable(budget, room.memory_bytes, disk)
            room.refuse_crowd(budget.memory_bytes)
        except PlanError as error:
            yield part, error
        disk -= budget.disk_bytes


def _make_pass(folder: Path, part: Pass, plan: TilePlan) -> PassWork:
    canvas = create_canvas(folder / "parse.zarr" / part.name, plan.digest, plan.tiling, part.targets)
    _create_maps(canvas)
    return PassWork(plan, canvas)


def _create_maps(canvas: Canvas) -> None:
    """Make the empty maps that follow from a canvas; those that are there stay."""
    levels = list_levels(canvas.grid)
    create_levels(Path(canvas.path), levels)
    for group in list_groups(canvas.targets):
        create_levels(create_labels(canvas, group).path, levels)

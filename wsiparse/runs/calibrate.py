"""Fits for the test of validity, from the tiles of a run in which pathologists say that a target is there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import DamagedError, InputError, ReferenceFileError, SlideError
from wsiparse.evaluation.references import Reference
from wsiparse.geometry import Region
from wsiparse.maps.canvas import Canvas, read_region, written_blocks
from wsiparse.maps.evidence import weigh_block
from wsiparse.maps.validity import INSIDE, BetaFit, average_masks, fit_features, write_fits
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.references import References, ReferenceSource, describe_slide, find_run_references
from wsiparse.runs.results import find_maps
from wsiparse.runs.run import Run, State
from wsiparse.slides.open import make_reader
from wsiparse.slides.slide import Reader
from wsiparse.tiles.plan import Block, plan_tiles
from wsiparse.tiles.reading import read_block
from wsiparse.tiles.stitch import cut_tiles

PRESENT_SHARE = 0.01
"""A target is in a tile where the reference gives it at least this share of the core."""

Statistics = NDArray[np.float64]
"""Means inside masks [N, features]."""


@dataclass(frozen=True)
class Calibration:
    """What came of a calibration."""

    samples: Mapping[str, int]
    """Tiles from which each target's fits were made."""
    refused: Mapping[str, str]
    """Targets without fits, and why."""
    left_out: Mapping[str, str]
    """Slides that have a reference and could not be used, and why."""
    unused: tuple[str, ...]
    """References that belong to no slide of the run."""


def calibrate_run(run: Run, path: Path, source: ReferenceSource) -> Calibration:
    """Fit every target that the references of a run show, and write the fits to `path`.

    Nothing is predicted again: pixels are read where a reference and a mask are, with the run's own maps. A slide or a
    reference that cannot be used is left out, with its reason. Raises InputError where no target has enough tiles.
    """
    references = find_run_references(run, source)
    statistics, left_out = _collect_run(run, references)
    fits: dict[str, tuple[BetaFit, ...]] = {}
    refused: dict[str, str] = {}
    for name, found in statistics.items():
        try:
            fits[name] = fit_features(name, found)
        except InputError as error:
            refused[name] = str(error)
    if not fits:
        reasons = [*refused.values(), *(f"{slide}: {reason}" for slide, reason in left_out.items())]
        unseen = "no tile in which a reference and a mask show the same target"
        raise InputError(f"{run.path}: {'; '.join(reasons[:3]) or unseen}")
    samples = {name: len(statistics[name]) for name in fits}
    write_fits(path, fits, samples)
    return Calibration(samples, refused, left_out, references.unused)


def _collect_run(run: Run, references: References) -> tuple[dict[str, Statistics], dict[str, str]]:
    """Statistics by target, and the slides that cannot be used with their reasons."""
    found = defaultdict(list)
    left_out = dict(references.refused)
    for row in [row for row in run.rows if row.id in references.files]:
        try:
            collected = list(_collect_slide(run, row, references))
        except (ReferenceFileError, SlideError, DamagedError) as error:
            left_out[row.id] = str(error)
            continue
        for name, statistics in collected:
            found[name].append(statistics)
    return {name: np.concatenate(parts) for name, parts in found.items()}, left_out


def _collect_slide(run: Run, row: ManifestRow, references: References) -> Iterator[tuple[str, Statistics]]:
    if run.state(row.id) is State.EMPTY:
        return
    canvases = find_maps(run, row.id)
    slide = describe_slide(run, row)
    reference = references.read(slide, min(canvas.grid.mpp for canvas in canvases))
    with closing(make_reader(slide)) as reader:
        for canvas in canvases:
            done = written_blocks(canvas)
            for block in plan_tiles(slide, canvas.tiling).blocks:
                if (block.row, block.column) in done:
                    yield from _collect_block(reader, canvas, block, reference)


def _collect_block(
    reader: Reader, canvas: Canvas, block: Block, reference: Reference
) -> Iterator[tuple[str, Statistics]]:
    """Statistics of the tiles of a block that show a target, by its name."""
    values, tiling = read_region(canvas, block.region), canvas.tiling
    shown = _draw_targets(canvas, block, reference)
    channels = [n for n in shown if (values[n] >= INSIDE).any()]
    if not channels:
        return
    evidence = weigh_block(cut_tiles(values, tiling, block), channels, read_block(reader, tiling, block), tiling)
    for k, n in enumerate(channels):
        shares = np.array([_share_of(shown[n], core, block.region) for core in block.cores])
        chosen = (shares >= PRESENT_SHARE) & (evidence.sums[:, k, 0] > 0)
        yield canvas.targets[n].name, average_masks(evidence.sums[chosen, k])


def _draw_targets(canvas: Canvas, block: Block, reference: Reference) -> dict[int, NDArray[np.bool_]]:
    """Where the reference shows the target of each channel [h, w]; channels of which it shows none are left out."""
    compared = ~reference.draw_ignored(block.region, canvas.grid)
    names = {n: target.name for n, target in enumerate(canvas.targets) if reference.covers(target.name)}
    drawn = {n: reference.draw(name, block.region, canvas.grid) & compared for n, name in names.items()}
    return {n: mask for n, mask in drawn.items() if mask.any()}


def _share_of(mask: NDArray[np.bool_], core: Region, region: Region) -> float:
    return float(mask[core.intersect(region).shift(-region.x, -region.y).slices].mean())

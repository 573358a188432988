"""Squares of 2 × 2 blocks: what is made of a slide's stored blocks, anywhere and in any order.

A square owns one shard of level 1 of the canvas and of each label map, the labels of its blocks, and the pieces of
outlines in them. Pieces lie in files until the slide is finished; a mark that is written last says that a square is
done.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsiparse.annotations.instances import InstanceTracing, trace_instance_block
from wsiparse.annotations.piece_files import read_pieces, write_pieces
from wsiparse.annotations.pieces import Pieces
from wsiparse.files import remove_whole_folder, write_whole
from wsiparse.maps.canvas import Canvas, read_region
from wsiparse.maps.holes import HoleFilling, fill_holes
from wsiparse.maps.labels import LabelImage, write_labels
from wsiparse.maps.metadata import list_levels
from wsiparse.maps.pyramid import Pool, build_shard, pool_mean, pool_mode
from wsiparse.maps.recognition import recognize
from wsiparse.ontology import list_groups
from wsiparse.runs.clock import StageClock, Times
from wsiparse.runs.judge import Judgement
from wsiparse.runs.machine import return_freed_memory
from wsiparse.runs.retry import retry_passing
from wsiparse.runs.work import SlideWork
from wsiparse.tiles.plan import Block

PIECES = "pieces"
"""Folder of the traced blocks of a slide, in the slide's own until it is done."""


@dataclass(frozen=True)
class LabelWork:
    """One exclusive group: its label image and the stored values from which a pixel may be each target's."""

    image: LabelImage
    cuts: tuple[int, ...]

    @property
    def tracing(self) -> InstanceTracing:
        """How its objects are told apart."""
        return InstanceTracing.of_targets(self.image.targets, self.image.canvas.grid.mpp)

    @property
    def filling(self) -> HoleFilling:
        """Which holes in it are filled."""
        return HoleFilling.of_targets(self.image.targets, self.image.canvas.grid.mpp)

    @property
    def halo(self) -> int:
        """Canvas pixels around a block that have a say in its labels and outlines."""
        return self.filling.reach + self.tracing.halo

    def name_pieces(self, block: Block) -> Path:
        """The file of a block's pieces; a block without any has none."""
        return find_pieces(self.image.canvas) / self.image.path.name / f"{block.row}.{block.column}.safetensors"


@dataclass(frozen=True)
class SquareWork:
    """One square to derive; a few kilobytes."""

    canvas: Canvas
    place: tuple[int, int]
    """Row and column of the square, and of its shards of level 1."""
    blocks: tuple[Block, ...]
    """Those of its blocks that have tissue."""
    labels: tuple[LabelWork, ...]

    @property
    def mark(self) -> Path:
        """The file that says that the square is done."""
        return find_pieces(self.canvas) / f"{self.place[0]}.{self.place[1]}.done"


def list_labels(canvas: Canvas, judgement: Judgement) -> tuple[LabelWork, ...]:
    """What is to be labelled on a canvas."""
    images = (LabelImage(canvas, group) for group in list_groups(canvas.targets))
    return tuple(LabelWork(image, judgement.cut_targets(image.targets)) for image in images)


def cut_squares(work: SlideWork, judgement: Judgement) -> Iterator[SquareWork]:
    """All squares of a slide."""
    for part in work.passes:
        labels = list_labels(part.canvas, judgement)
        blocks = sorted(part.plan.blocks, key=_find_square)
        yield from (SquareWork(part.canvas, at, tuple(own), labels) for at, own in groupby(blocks, _find_square))


def list_squares(work: SlideWork, judgement: Judgement) -> Iterator[SquareWork]:
    """The squares that are left to do of a slide whose blocks are stored."""
    return (square for square in cut_squares(work, judgement) if not square.mark.exists())


def _find_square(block: Block) -> tuple[int, int]:
    return block.row // 2, block.column // 2


@retry_passing
def derive_square(work: SquareWork) -> Times:
    """Make all that a square owns; doing it again gives the same files."""
    return_freed_memory()
    clock = StageClock()
    with clock.measure("pyramid"):
        peaks = _coarsen_canvas(work)
    wanted = [labels for labels in work.labels if _reach(_choose_channels(peaks, labels.image), labels.cuts)]
    found: set[LabelWork] = set()
    for block in work.blocks if wanted else ():
        found.update(_derive_block(work.canvas, block, wanted, clock))
    with clock.measure("pyramid"):
        for labels in found:
            _coarsen(labels.image.path, work, pool_mode)
    with write_whole(work.mark, within=work.canvas.slide_folder) as partial:
        partial.touch()
    return clock.stop()


def _coarsen_canvas(work: SquareWork) -> NDArray[np.uint8]:
    """Write the canvas's shard of level 1; returns no less than the largest value of each of its channels [K, 1]."""
    peaks = np.full((len(work.canvas.targets), 1), 0 if len(list_levels(work.canvas.grid)) > 1 else 255, np.uint8)

    def pool(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        np.maximum(peaks, values.max((1, 2))[:, None], out=peaks)
        return pool_mean(values)

    _coarsen(Path(work.canvas.path), work, pool)
    return peaks


def _coarsen(path: Path, work: SquareWork, pool: Pool) -> None:
    levels = list_levels(work.canvas.grid)
    if len(levels) > 1:
        build_shard(path, levels, 1, work.place, work.canvas.tiling.block, pool)


def _derive_block(canvas: Canvas, block: Block, wanted: Sequence[LabelWork], clock: StageClock) -> Iterator[LabelWork]:
    """Write a block's labels and pieces; yields the groups of which there are any."""
    halo = max(labels.halo for labels in wanted)
    with clock.measure("label"):
        values = read_region(canvas, block.region.grow(halo))  # [K, h + 2 halo, w + 2 halo]
    for labels in wanted:
        scores = _choose_channels(_trim(values, halo - labels.halo), labels.image)
        if _derive_labels(labels, block, scores, clock):
            yield labels


def _trim(pixels: NDArray[Any], rim: int) -> NDArray[Any]:
    """Pixels [..., h, w] without the outermost `rim` rows and columns on each side."""
    height, width = pixels.shape[-2:]
    return pixels[..., rim : height - rim, rim : width - rim]


def _choose_channels(values: NDArray[np.uint8], image: LabelImage) -> NDArray[np.uint8]:
    channels = image.channels
    together = channels[-1] - channels[0] == len(channels) - 1
    return values[channels[0] : channels[-1] + 1] if together else values[channels]


def _derive_labels(labels: LabelWork, block: Block, scores: NDArray[np.uint8], clock: StageClock) -> bool:
    """Write the labels and pieces of one group where a block has any, from its scores and those around it."""
    filling, tracing = labels.filling, labels.tracing
    with clock.measure("label"):
        if not _reach(_trim(scores, labels.halo), labels.cuts):
            return False
        codes = recognize(scores, labels.cuts)
        fill_holes(codes, filling)
        codes, scores = _trim(codes, filling.reach), _trim(scores, filling.reach)
        write_labels(labels.image, block, _trim(codes, tracing.halo))
    with clock.measure("outline"):
        pieces = trace_instance_block(codes, scores, block.region, tracing)
        write_pieces(labels.name_pieces(block), pieces, within=labels.image.canvas.slide_folder)
    return True


def _reach(scores: NDArray[np.uint8], cuts: Sequence[int]) -> bool:
    """Whether any pixel reaches the cut of its target: where none does, nothing is labelled and nothing is centred."""
    return any(plane.max() >= cut for plane, cut in zip(scores, cuts, strict=True))


def gather_blocks(labels: LabelWork, blocks: Iterable[Block]) -> Iterator[Pieces]:
    """The pieces of a group, block by block."""
    files = (labels.name_pieces(block) for block in blocks)
    return (read_pieces(file) for file in files if file.exists())


def find_pieces(canvas: Canvas) -> Path:
    """Where the traced blocks of a canvas lie, in its slide's folder."""
    return canvas.slide_folder / PIECES / Path(canvas.path).name


def remove_pieces(work: SlideWork) -> None:
    """Delete what the squares left for the end of the slide; marks and pieces go in one step, seen by whoever reads."""
    remove_whole_folder(Path(work.folder, PIECES))


def require_pieces(work: SlideWork, judgement: Judgement) -> None:
    """Raise an error that passes where not all squares are marked as done, though they were before.

    A worker that lost its scheduler may end a slide while another run does, and take away what that one is reading.
    """
    if next(list_squares(work, judgement), None):
        raise OSError(errno.EBUSY, f"{work.folder}: {PIECES} were taken away by another process")

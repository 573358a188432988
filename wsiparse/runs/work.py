"""What is left to do for one slide, pass by pass and block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wsiparse.maps.canvas import Canvas, written_blocks
from wsiparse.models.load import ModelSpec
from wsiparse.runs.rules import Rules
from wsiparse.slides.slide import Slide
from wsiparse.tiles.plan import Block, TilePlan, Tiling

EVIDENCE = "evidence"
"""Folder of what blocks tell, in that of their slide until it is done."""


@dataclass(frozen=True)
class PassWork:
    """One pass over a slide: its plan and the canvas that its blocks are written to."""

    plan: TilePlan
    canvas: Canvas

    @property
    def source_pixels(self) -> float:
        """How many pixels of the level that is read its cores show."""
        slide, grid = self.plan.slide, self.canvas.grid
        return self.plan.shown_pixels * grid.scale_to(slide.levels[slide.best_level(grid.mpp)]) ** 2


@dataclass(frozen=True)
class SlideWork:
    """All that is left to do for a slide, passes in order."""

    slide: Slide
    folder: str
    model: ModelSpec
    passes: tuple[PassWork, ...]
    rules: Rules
    simplify: float
    tissue_share: float | None
    """Share of the thumbnail that is tissue; None where tissue was not looked for."""
    pen_share: float | None
    """Share of the thumbnail that is pen marks."""

    @property
    def source_pixels(self) -> float:
        """How many pixels of the slide's levels its tiles show, each counted once a pass."""
        return sum(part.source_pixels for part in self.passes)

    def blocks_left(self) -> Iterator[BlockWork]:
        """The blocks that no shard on disk shows as done."""
        for part in self.passes:
            done = written_blocks(part.canvas)
            for block in part.plan.blocks:
                if (block.row, block.column) not in done:
                    yield BlockWork(self.slide, self.model, part.canvas, block, tuple(self.rules.fits))


@dataclass(frozen=True)
class BlockWork:
    """One block to read, predict and write; a few kilobytes, whatever the slide's size."""

    slide: Slide
    model: ModelSpec
    canvas: Canvas
    block: Block
    tested: tuple[str, ...]
    """Names of targets whose findings are tested, on this canvas or another."""

    @property
    def tested_channels(self) -> tuple[int, ...]:
        """Which channels of the canvas are tested."""
        return tuple(n for n, target in enumerate(self.canvas.targets) if target.name in self.tested)

    @property
    def evidence(self) -> Path:
        """Where what the block's tiles say is kept until the slide is done."""
        return name_evidence(self.canvas)

    @property
    def tiling(self) -> Tiling:
        """How the canvas is cut."""
        return self.canvas.tiling


def name_evidence(canvas: Canvas) -> Path:
    """Where the evidence of a canvas's blocks lies, in its slide's folder."""
    return canvas.slide_folder / EVIDENCE / Path(canvas.path).name

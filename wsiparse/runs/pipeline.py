"""The steps of one slide, in order. Serial here; cluster.py sends the same functions to other processes.

prepare_slide ─► load_block ─► predict_block ─► store_block    once a block
                                                     │
                      judge_slide ◄──────────────────┘         once all of them are stored
                           └─► derive_square                   once a square of blocks: level 1, label maps, tracing
                                    └─► finish_slide           outlines joined and written, coarse levels, summary

Several workers derive squares before, as soon as their blocks are stored, where labels do not hang on the judgement.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import ModelError, WsiparseError
from wsiparse.files import write_json
from wsiparse.maps.canvas import require_canvas, write_block
from wsiparse.maps.evidence import weigh_block
from wsiparse.models.breakdown import BreakdownError, notice_breakdown
from wsiparse.models.devices import name_accelerators
from wsiparse.models.load import ModelSpec, find_drawback, find_licence, load_model
from wsiparse.models.memory import is_out_of_memory
from wsiparse.models.model import TextModel, TextVectors
from wsiparse.models.tile_sizes import TileSizes, measure_tiles
from wsiparse.ontology import Target
from wsiparse.runs.clock import StageClock, TimedReader, Times
from wsiparse.runs.finish import finish_slide
from wsiparse.runs.judge import Judgement, judge_work, keep_evidence
from wsiparse.runs.machine import return_freed_memory
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.order import Order
from wsiparse.runs.planning import prepare_slide
from wsiparse.runs.retry import retry_passing
from wsiparse.runs.run import refuse_lost
from wsiparse.runs.work import BlockWork, SlideWork
from wsiparse.slides.open import make_reader, reader_of
from wsiparse.tiles.reading import TileBatch, read_block
from wsiparse.tiles.stitch import stitch_tiles


@dataclass(frozen=True)
class Loaded:
    """A block's tiles, and what they took."""

    batch: TileBatch
    times: Times


@dataclass(frozen=True)
class Predicted:
    """A block's probabilities uint8 [N, K, height, width], and what they took so far."""

    tiles: NDArray[np.uint8]
    batch: TileBatch
    """What was shown; without pixels where no finding is tested."""
    times: Times


@dataclass(frozen=True)
class BlockRecord:
    """What comes back of a block: a few numbers, never pixels."""

    tiles: int
    times: Times


@dataclass(frozen=True)
class Judged:
    """A slide as judged from its stored blocks, and what that took."""

    judgement: Judgement
    times: Times


Listener = Callable[[str, str, BlockRecord | None], None]
"""Told of events: name (`started`, `block`, `done`, `failed`), slide id, and a block's record.

Before all slides, in the place of the id, `matched` says what a free text was taken for, and `warned` what is unwise.
"""


@dataclass(frozen=True)
class ModelFacts:
    """What a run must know of a model before it starts; small, where the model may be large and far away."""

    name: str
    digest: str
    licence: str
    """Empty where its weights name none."""
    targets: tuple[Target, ...]
    tiles: TileSizes
    least_similarity: float | None
    """Cosine from which it takes a text for a target; None where it cannot tell wordings apart."""
    accelerators: tuple[str, ...]
    """Of the machine that described it."""
    drawback: str
    """What is unwise about running it there as asked; empty where nothing is."""


def describe_model(spec: ModelSpec) -> ModelFacts:
    """Load a model where this is called and say what it is; BreakdownError where its accelerator is broken already."""
    with notice_breakdown():
        model = load_model(spec)
    tiles, least = measure_tiles(model), model.least_similarity if isinstance(model, TextModel) else None
    names = model.name, model.digest, find_licence(model)
    accelerators, drawback = tuple(name_accelerators()), find_drawback(spec)
    return ModelFacts(*names, tuple(model.targets), tiles, least, accelerators, drawback)


def embed_texts(spec: ModelSpec, texts: Sequence[str]) -> TextVectors:
    """Vectors of texts, by a model that can tell wordings apart."""
    model = load_model(spec)
    assert isinstance(model, TextModel)
    return model.embed_texts(texts)


@retry_passing
def load_block(work: BlockWork) -> Loaded:
    """Read a block's tiles; work for a processor."""
    return_freed_memory()
    clock = StageClock()
    with clock.measure("resample"):
        batch = read_block(TimedReader(reader_of(work.slide), clock), work.tiling, work.block)
        if batch.unreadable_pixels:
            batch = _read_alone(work)
    return Loaded(batch, clock.stop())


def _read_alone(work: BlockWork) -> TileBatch:
    """Read a block again with a reader of its own: one that is shared counts what others could not read as well."""
    with closing(make_reader(work.slide)) as reader:
        return read_block(reader, work.tiling, work.block)


def predict_block(work: BlockWork, loaded: Loaded) -> Predicted:
    """Ask the model about a block's tiles; work for an accelerator, without which the run ends: BreakdownError."""
    clock = StageClock(loaded.times)
    with clock.measure_model(), notice_breakdown():
        tiles = load_model(work.model).predict(loaded.batch.pixels, work.canvas.targets)
    _refuse_answer(tiles, work)
    batch = loaded.batch if work.tested_channels else loaded.batch.without_pixels()
    return Predicted(tiles, batch, clock.stop())


def _refuse_answer(tiles: NDArray[np.uint8], work: BlockWork) -> None:
    """Raise ModelError for other values than a model is to answer: put into the map, fractions of 1 would all be 0."""
    wanted = len(work.block.cores), len(work.canvas.targets), *work.tiling.shape
    found = getattr(tiles, "dtype", type(tiles).__name__), tuple(getattr(tiles, "shape", ()))
    if found != (np.dtype(np.uint8), wanted):
        raise ModelError(
            f"model {work.model.name_or_path} answered {found[0]} {found[1]}, expected uint8 {wanted} of numpy: "
            "round(255 p) of each tile and target; correct its predict"
        )


@retry_passing
def store_block(work: BlockWork, predicted: Predicted) -> BlockRecord:
    """Write what a block's tiles say, then stitch them into its shard; from then on it is done."""
    clock = StageClock(predicted.times)
    with clock.measure("weigh"):
        evidence = weigh_block(predicted.tiles, work.tested_channels, predicted.batch, work.tiling)
    with clock.measure("write"):
        require_canvas(work.canvas)
        keep_evidence(work, evidence)
        maps = stitch_tiles(predicted.tiles, work.tiling, work.block)
        write_block(work.canvas, work.block, clock.measure_each("stitch", maps))
    return BlockRecord(len(work.block.cores), clock.stop())


def parse_block(work: BlockWork) -> BlockRecord:
    """All of a block's work."""
    return store_block(work, predict_block(work, load_block(work)))


@retry_passing
def judge_slide(work: SlideWork) -> Judged:
    """Judge a slide whose blocks are all stored."""
    clock = StageClock()
    with clock.measure("judge"):
        judgement = judge_work(work)
    return Judged(judgement, clock.stop())


def parse_slide(order: Order, row: ManifestRow, listen: Listener) -> dict[str, Any]:
    """Parse one slide, block after block; returns its summary."""
    work = prepare_slide(order, row)
    times = []
    for block in work.blocks_left():
        record = parse_block(block)
        times.append(record.times)
        listen("block", row.id, record)
    judged = judge_slide(work)
    return finish_slide(work, judged.judgement, [*times, judged.times])


class SerialEngine:
    """Does everything in this process and this thread: the reference that every cluster must equal."""

    def describe(self, spec: ModelSpec) -> ModelFacts:
        """The model, loaded here."""
        return describe_model(spec)

    def embed_texts(self, spec: ModelSpec, texts: Sequence[str]) -> TextVectors:
        """What the model makes of texts."""
        return embed_texts(spec, texts)

    def parse_cohort(self, order: Order, rows: Sequence[ManifestRow], listen: Listener) -> None:
        """Parse slides one after another; one that fails is recorded and the next one follows."""
        for row in rows:
            listen("started", row.id, None)
            try:
                parse_slide(order, row, listen)
            except Exception as error:  # the border of a slide: what befalls one must not take the cohort with it
                record_failure(order.folder(row), error, traceback.format_exc())
                listen("failed", row.id, None)
            else:
                listen("done", row.id, None)


def record_failure(folder: Path, error: BaseException, trace: str) -> None:
    """Write failed.json: a stable reason code, the one line for people, the traceback for engineers.

    Raises ConnectionError where the run's folder or the accelerator is gone, which is no fault of the slide.
    """
    if isinstance(error, BreakdownError):
        raise error
    refuse_lost(folder.parent)
    failure = {"reason": name_reason(error), "message": str(error), "traceback": trace}
    write_json(folder / "failed.json", failure, within=folder.parent)


def name_reason(error: BaseException) -> str:
    """The reason code of an error: its own, or `out_of_memory`, `worker_lost`, `io_error` or `bug`."""
    if isinstance(error, WsiparseError):
        return error.reason
    if is_out_of_memory(error):
        return "out_of_memory"
    kinds = {ChildProcessError: "worker_lost", OSError: "io_error"}
    return next((reason for kind, reason in kinds.items() if isinstance(error, kind)), "bug")

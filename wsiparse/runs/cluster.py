"""The same steps on a Dask cluster; beside connect.py the only module that knows Dask.

Dask begins and ends at a block. Of each block three tasks are submitted (load needs READ, predict needs GPU, store
needs neither); a bounded window of blocks is in flight, blocks of the next slide follow when those of the last run out,
and only small records come back to the client. Squares of blocks are derived wherever a processor has no block to read:
as soon as their blocks are stored, or else once the slide is judged, which follows its last block; then it is finished.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import dask
from distributed import Client, Future, KilledWorker, Worker, WorkerPlugin, as_completed
from distributed.client import ClosedClientError, FutureCancelledError, FuturesCancelledError
from distributed.comm.core import CommClosedError

from wsiparse.models.breakdown import end_at_breakdown
from wsiparse.models.load import ModelSpec
from wsiparse.models.model import TextVectors
from wsiparse.runs.clock import Times
from wsiparse.runs.config import RunConfig
from wsiparse.runs.connect import FreeWaiting, connect
from wsiparse.runs.finish import finish_slide
from wsiparse.runs.hanging import watch_workers
from wsiparse.runs.judge import Judgement
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.order import Order
from wsiparse.runs.pipeline import (
    BlockRecord,
    Judged,
    Listener,
    ModelFacts,
    describe_model,
    embed_texts,
    judge_slide,
    load_block,
    predict_block,
    record_failure,
    store_block,
)
from wsiparse.runs.places import Places
from wsiparse.runs.planning import prepare_slide
from wsiparse.runs.roles import list_workers
from wsiparse.runs.room import Room, measure_room
from wsiparse.runs.square_queue import SquareQueue
from wsiparse.runs.squares import derive_square
from wsiparse.runs.work import BlockWork, SlideWork
from wsiparse.runs.workers import count_processes

LOST = "the scheduler was lost; the same command continues where this one ended"
COUNT_SECONDS = 5
SETTINGS = {
    "distributed.worker.memory.terminate": False,
    "distributed.comm.timeouts.connect": "60s",
    # It keeps what it saw of the last hour: memory that grows by hundreds of megabytes, for nobody to look at.
    "distributed.worker.profile.enabled": False,
    # It would take pixels that lie with one worker to another, which has blocks of its own; see places.py.
    "distributed.scheduler.work-stealing": False,
}
SLIDES_AHEAD = 2
"""Slides prepared beyond the one whose blocks are being submitted."""


@contextmanager
def open_cluster(config: RunConfig) -> Iterator[ClusterEngine]:
    """Connect to the cluster of a config, or start a local one; it ends with the block."""
    room = measure_room(config) if count_processes(config) > 1 else None  # before they take of it
    with dask.config.set(SETTINGS), connect(config) as client:
        with _notice_loss():
            client.register_plugin(_EndAtBreakdown())
            client.register_plugin(FreeWaiting())
        yield ClusterEngine(client, config.window, room)


class _EndAtBreakdown(WorkerPlugin):
    """Has workers that a nanny starts anew end where their accelerator breaks down; others do their blocks."""

    name = "wsiparse-breakdown"

    def setup(self, worker: Worker) -> None:
        """Told of every worker, also of those that come later."""
        if worker.nanny:
            end_at_breakdown()


@dataclass(eq=False)
class _Slide:
    """A slide in flight, as the client sees it."""

    row: ManifestRow
    work: SlideWork
    blocks: Iterator[BlockWork]
    squares: SquareQueue
    storing: dict[Future[Any], BlockWork] = field(default_factory=dict)
    """Blocks in flight."""
    waiting: set[Future[Any]] = field(default_factory=set)
    """Its judgement and squares in flight."""
    times: list[Times] = field(default_factory=list)
    exhausted: bool = False
    judgement: Judgement | None = None


@dataclass
class ClusterEngine:
    """Runs slides on the workers of a client."""

    client: Client
    window: int
    """Blocks in flight for each worker."""
    room: Room | None = None
    """Memory that its processes share, where it started several."""
    accelerated: bool = False
    """Whether the worker that described the model has an accelerator."""

    def describe(self, spec: ModelSpec) -> ModelFacts:
        """The model, as a worker that can hold it sees it."""
        with _notice_loss():
            facts: ModelFacts = self.client.submit(describe_model, spec, resources={"GPU": 1}, pure=False).result()
        self.accelerated = bool(facts.accelerators)
        return facts

    def embed_texts(self, spec: ModelSpec, texts: Sequence[str]) -> TextVectors:
        """What the model makes of texts, asked of a worker that holds it."""
        with _notice_loss():
            future = self.client.submit(embed_texts, spec, list(texts), resources={"GPU": 1}, pure=False)
            vectors: TextVectors = future.result()
        return vectors

    def parse_cohort(self, order: Order, rows: Sequence[ManifestRow], listen: Listener) -> None:
        """Parse slides with their blocks interleaved; one that fails is recorded and the others go on."""
        with _notice_loss(), watch_workers(self.client, order.config.task_deadline_s):
            _Cohort(self, replace(order, room=self.room), rows, listen).run()


@contextmanager
def _notice_loss() -> Iterator[None]:
    """A lost scheduler shows in many ways, all of which mean the same to a person."""
    try:
        yield
    except (ClosedClientError, CommClosedError, FutureCancelledError, FuturesCancelledError) as error:
        raise ConnectionError(LOST) from error


def _name_loss(error: BaseException) -> BaseException:
    """What Dask says of a task whose workers died one after another, in our words."""
    if not isinstance(error, KilledWorker):
        return error
    step, last = str(error.task).partition("-")[0], error.last_worker.address
    return ChildProcessError(
        f"{error.allowed_failures + 1} workers died one after another at {step}, the last {last}; see their logs, and "
        "lower block_tiles, window or, on processors, OMP_NUM_THREADS where memory ran out"
    )


def _draw_blocks(slides: Sequence[_Slide]) -> Iterator[tuple[_Slide, BlockWork]]:
    """Blocks in the order of their slides."""
    for slide in slides:
        yield from ((slide, block) for block in slide.blocks)
        slide.exhausted = True


def _fetch(future: Future[Any]) -> Any:
    """What a task gave, or the error it ended with: also where its answer was lost with its worker."""
    if future.status == "error":
        return future.exception().with_traceback(future.traceback())
    try:
        return future.result()
    except KilledWorker as error:
        return error


class _Cohort:
    """The client's loop: keep the window full, take what completes, never hold a pixel."""

    def __init__(self, engine: ClusterEngine, order: Order, rows: Sequence[ManifestRow], listen: Listener) -> None:
        self.client, self.order, self.listen = engine.client, order, listen
        self.window, self.limit, self.counted = engine.window, 0, -math.inf
        self.accelerated = engine.accelerated
        self.rows = iter(rows)
        self.completed = as_completed()
        self.preparing: dict[Future[Any], ManifestRow] = {}
        self.blocks: dict[Future[Any], _Slide] = {}
        self.places = Places()
        self.judging: dict[Future[Any], _Slide] = {}
        self.squares: dict[Future[Any], _Slide] = {}
        self.finishing: dict[Future[Any], _Slide] = {}
        self.slides: list[_Slide] = []
        self.suspects: list[ManifestRow] = []
        self.suspected: set[str] = set()

    def run(self) -> None:
        """Until no row is left and nothing is in flight."""
        self._refill()
        for batch in self.completed.batches():
            for future in batch:
                if not future.cancelled():
                    self._take(future)
                    # What is held is done again where its worker dies: a square while its slide is being finished.
                    future.release()
            self._refill()
        if self.preparing or self.slides or self.finishing:
            raise ConnectionError(LOST)

    def _refill(self) -> None:
        self._count_workers()
        while self._wants_slide() and (row := next(self.rows, None)):
            self._submit_slide(row)
        if self.suspects and not (self.preparing or self.slides or self.finishing):
            self._submit_slide(self.suspects.pop())
        drawn_from = [slide for slide in self.slides if not slide.exhausted]
        # One for each worker at a time: their models begin before the scheduler has heard of all that follow.
        drawn = _draw_blocks(drawn_from)
        while part := [*islice(drawn, max(min(self.limit - len(self.blocks), self._workers), 0))]:
            self._submit_blocks(part)
        for source in drawn_from:
            self._judge_if_stored(source)
        while slide := next(filter(self._may_derive, self.slides), None):
            self._submit_square(slide)

    @property
    def _workers(self) -> int:
        """Workers when they were last counted, 1 where there were none."""
        return self.limit // self.window

    def _may_derive(self, slide: _Slide) -> bool:
        """Whether a square may be submitted.

        While blocks are to come it is one a worker, for these take memory as well; none where a single process has
        nothing but its processors, which blocks keep busy.
        """
        early = self._workers if self._workers > 1 or self.accelerated else 0
        return slide.squares.open and len(self.squares) < (self.limit if slide.judgement else early)

    def _wants_slide(self) -> bool:
        """A few slides wait ready; more are taken up, one a worker at a time, where they are too small to fill it."""
        ahead, blocks = len(self.preparing) + len(self.slides), len(self.preparing) + len(self.blocks)
        starved = blocks < self.limit and ahead < self.limit and len(self.preparing) < self._workers
        return ahead <= SLIDES_AHEAD or starved

    def _count_workers(self) -> None:
        """Workers come and go while a batch system starts and ends them."""
        if time.monotonic() - self.counted > COUNT_SECONDS:
            workers = list_workers(self.client)  # none, of a scheduler that was just lost
            self.limit = self.window * max(len(workers), 1)
            self.places.update(workers)
            self.counted = time.monotonic()

    def _submit_slide(self, row: ManifestRow) -> None:
        self.listen("started", row.id, None)
        future = self._submit(prepare_slide, self.order, row, resources={"READ": 1}, priority=20)
        self.preparing[future] = row

    def _submit_blocks(self, drawn: Sequence[tuple[_Slide, BlockWork]]) -> None:
        """Three tasks a block, all blocks' at once: a scheduler takes a hundred in one message as fast as ten alone."""
        slides, blocks = zip(*drawn, strict=True)
        takers = self.places.choose(len(blocks))
        loaded = self._submit_loading(blocks, takers)
        predicted = self.client.map(predict_block, blocks, loaded, resources={"GPU": 1}, pure=False, priority=5)
        stored = self.client.map(store_block, blocks, predicted, pure=False, priority=10)
        self.completed.update(stored)
        self.places.hold(stored, takers)
        for slide, block, future in zip(slides, blocks, stored, strict=True):
            self.blocks[future] = slide
            slide.storing[future] = block

    def _submit_loading(self, blocks: Sequence[BlockWork], takers: Sequence[str]) -> list[Future[Any]]:
        """Blocks read by those that take them, or by anyone; another worker reads those of one that died."""
        found: dict[int, Future[Any]] = {}
        for taker in dict.fromkeys(takers or [""]):
            own = [n for n in range(len(blocks)) if not takers or takers[n] == taker]
            place: dict[str, Any] = {"workers": [taker], "allow_other_workers": True} if taker else {}
            parts = self.client.map(load_block, [blocks[n] for n in own], resources={"READ": 1}, pure=False, **place)
            found |= zip(own, parts, strict=True)
        return [found[n] for n in range(len(blocks))]

    def _submit_square(self, slide: _Slide) -> None:
        square = slide.squares.take()
        if square is None:
            self._finish_if_derived(slide)
            return
        future = self._submit(derive_square, square, resources={"READ": 1}, priority=-5)
        self.squares[future] = slide
        slide.waiting.add(future)

    def _submit(self, function: Callable[..., Any], *arguments: object, **options: Any) -> Future[Any]:
        future: Future[Any] = self.client.submit(function, *arguments, **options, pure=False)
        self.completed.add(future)
        return future

    def _take(self, future: Future[Any]) -> None:
        if row := self.preparing.pop(future, None):
            self._take_prepared(_fetch(future), row)
            return
        if slide := self.blocks.pop(future, None):
            self.places.release(future)
            self._take_block(_fetch(future), slide, slide.storing.pop(future))
            return
        kinds = (
            (self.judging, self._take_judged),
            (self.squares, self._take_square),
            (self.finishing, self._take_finished),
        )
        for tasks, take in kinds:
            if slide := tasks.pop(future, None):
                slide.waiting.discard(future)
                take(_fetch(future), slide)

    def _take_prepared(self, outcome: Any, row: ManifestRow) -> None:
        if isinstance(outcome, BaseException):
            self._fail(outcome, row)
            return
        work: SlideWork = outcome
        self.slides.append(_Slide(row, work, work.blocks_left(), SquareQueue(work)))

    def _take_block(self, outcome: Any, slide: _Slide, block: BlockWork) -> None:
        if self._gave_up(outcome, slide):
            return
        record: BlockRecord = outcome
        slide.times.append(record.times)
        slide.squares.add(block)
        self.listen("block", slide.row.id, record)
        self._judge_if_stored(slide)

    def _judge_if_stored(self, slide: _Slide) -> None:
        asked = slide.judgement or slide in self.judging.values()
        if slide.exhausted and not slide.storing and not asked and slide in self.slides:
            future = self._submit(judge_slide, slide.work, resources={"READ": 1}, priority=15)
            self.judging[future] = slide
            slide.waiting.add(future)

    def _take_judged(self, outcome: Any, slide: _Slide) -> None:
        if self._gave_up(outcome, slide):
            return
        judged: Judged = outcome
        slide.times.append(judged.times)
        slide.judgement = judged.judgement
        slide.squares.judge(judged.judgement)

    def _take_square(self, outcome: Any, slide: _Slide) -> None:
        if self._gave_up(outcome, slide):
            return
        slide.times.append(outcome)
        self._finish_if_derived(slide)

    def _finish_if_derived(self, slide: _Slide) -> None:
        if slide.judgement and not slide.squares.open and not slide.waiting and slide in self.slides:
            self.slides.remove(slide)
            arguments = slide.work, slide.judgement, slide.times
            self.finishing[self._submit(finish_slide, *arguments, resources={"READ": 1}, priority=15)] = slide

    def _take_finished(self, outcome: Any, slide: _Slide) -> None:
        if isinstance(outcome, BaseException):
            self._fail(outcome, slide.row)
        else:
            self.listen("done", slide.row.id, None)

    def _gave_up(self, outcome: Any, slide: _Slide) -> bool:
        """Whether a task of a slide failed; then the slide's other tasks are dropped and the failure recorded."""
        if not isinstance(outcome, BaseException):
            return False
        self._give_up(slide)
        self._fail(outcome, slide.row)
        return True

    def _give_up(self, slide: _Slide) -> None:
        futures = [*slide.storing, *slide.waiting]
        for future in futures:
            self.places.release(future)
            for tasks in (self.blocks, self.judging, self.squares):
                tasks.pop(future, None)
        self.client.cancel(futures)
        self.slides = [other for other in self.slides if other is not slide]

    def _fail(self, error: BaseException, row: ManifestRow) -> None:
        """Record a failure; a slide whose workers died is tried again by itself, for another may have killed them."""
        if isinstance(error, KilledWorker) and row.id not in self.suspected:
            self.suspected.add(row.id)
            self.suspects.append(row)
            return
        trace = "".join(traceback.format_tb(error.__traceback__))
        named = _name_loss(error)
        record_failure(self.order.folder(row), named, f"{trace}{type(named).__name__}: {named}\n")
        self.listen("failed", row.id, None)

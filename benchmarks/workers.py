"""Many Dask workers in one process, as if each had a machine: real steps, or steps that cost next to nothing.

    python -m benchmarks.workers SCHEDULER_FILE COUNT real|cheap

A cheap step is really done once, and answers the same for ever after; storing is never done. It takes the real one's
place in this process alone: the client sends what it always sends, and workers find the substitute under its name.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from types import FunctionType
from typing import Any

from distributed import Worker

from wsiparse.runs import cluster, roles
from wsiparse.runs.clock import StageClock
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.order import Order
from wsiparse.runs.pipeline import BlockRecord, Predicted, store_block
from wsiparse.runs.planning import prepare_slide
from wsiparse.runs.work import BlockWork, SlideWork

NOT_STEPS = ("describe_model", "embed_texts")
Step = Callable[..., Any]


def list_steps() -> Iterator[FunctionType]:
    """The functions that the client sends to workers: what cluster.py imports from the modules beside it."""
    for name, found in vars(cluster).items():
        beside = isinstance(found, FunctionType) and found.__module__.startswith("wsiparse.runs.")
        if beside and found.__module__ != cluster.__name__ and name not in NOT_STEPS:
            yield found


def make_cheap() -> None:
    """Put substitutes where a worker looks for the steps."""
    special: dict[Step, Callable[[Step], Step]] = {prepare_slide: repeat_preparation, store_block: skip_storing}
    for step in list_steps():
        setattr(sys.modules[step.__module__], step.__name__, special.get(step, repeat_answer)(step))


def repeat_answer(step: Step) -> Step:
    """A step whose first answer is every answer."""
    lock, answers = threading.Lock(), list[Any]()

    @functools.wraps(step)
    def answer(*arguments: object) -> Any:
        with lock:
            if not answers:
                answers.append(step(*arguments))
        return answers[0]

    return answer


def repeat_preparation(step: Step) -> Step:
    """Every slide has the blocks of the first one, under a name of its own."""
    prepare = repeat_answer(step)

    @functools.wraps(step)
    def rename(order: Order, row: ManifestRow) -> SlideWork:
        first: SlideWork = prepare(order, row)
        slide, folder = dataclasses.replace(first.slide, id=row.id), order.folder(row)
        folder.mkdir(exist_ok=True)  # or the first slide that a process finishes would have nowhere to lie
        return dataclasses.replace(first, slide=slide, folder=str(folder))

    return rename


def skip_storing(step: Step) -> Step:
    """Nothing is written: the client, who lists what is done of the slides to come, would find their blocks done."""

    @functools.wraps(step)
    def skip(work: BlockWork, predicted: Predicted) -> BlockRecord:
        return BlockRecord(len(work.block.cores), StageClock(predicted.times).stop())

    return skip


async def work_until_closed(scheduler_file: str, count: int) -> None:
    """Start the workers, and end with the scheduler."""
    start = functools.partial(Worker, nthreads=roles.THREADS, resources=dict(roles.ROLES), memory_limit=0)
    async with AsyncExitStack() as stack:
        workers = [start(scheduler_file=scheduler_file, dashboard=False) for _ in range(count)]
        for worker in workers:
            await stack.enter_async_context(worker)
        await asyncio.gather(*(worker.finished() for worker in workers))


if __name__ == "__main__":
    if sys.argv[3] == "cheap":
        make_cheap()
    gc.freeze()  # or each search of what was imported would stop them all, as it does not on machines of their own
    asyncio.run(work_until_closed(sys.argv[1], int(sys.argv[2])))

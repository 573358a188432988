"""All workers have as many blocks in flight, whoever Dask would give them to."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import dask
from distributed import LocalCluster, SchedulerPlugin
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import MakeSlide
from wsiparse.runs.cluster import SETTINGS
from wsiparse.runs.config import RunConfig
from wsiparse.runs.manifest import list_slides
from wsiparse.runs.parse import parse_run
from wsiparse.runs.places import Places
from wsiparse.runs.roles import ROLES
from wsiparse.runs.run import State

NAMES = st.sampled_from("abcde")


def describe(*names: str, **others: dict[str, int]) -> dict[str, Any]:
    """Workers as a scheduler tells of them."""
    return {name: {"resources": roles} for name, roles in (dict.fromkeys(names, ROLES) | others).items()}


@given(st.lists(st.tuples(st.integers(1, 9), st.sets(NAMES, min_size=2), st.data())))
def test_no_worker_has_two_blocks_more_than_another_that_was_there_as_long(
    turns: list[tuple[int, set[str], st.DataObject]],
) -> None:
    places, held = Places(), dict[int, str]()
    for turn, (count, names, data) in enumerate(turns):
        places.update(describe(*sorted(names)))
        held = {key: taker for key, taker in held.items() if taker in names}
        before = Counter(held.values())
        takers = places.choose(count)
        keys = [100 * turn + n for n in range(count)]
        places.hold(keys, takers)
        held |= dict(zip(keys, takers, strict=True))
        counts = Counter(held.values())
        given_to = {name for name in names if counts[name] > before[name]}
        assert max(counts[name] for name in given_to) <= min(counts[name] for name in names) + 1
        for key in data.draw(st.sets(st.sampled_from(sorted(held)))):
            places.release(key)
            del held[key]


def test_workers_of_one_kind_alone_are_chosen_among() -> None:
    places = Places()
    for workers in ({}, describe("a"), describe("a", "b", c={"READ": 2}), describe("a", b={"GPU": 1, "READ": 0})):
        places.update(workers)
        assert places.choose(3) == []
    places.update(describe("a", "b"))
    assert sorted(places.choose(4)) == ["a", "a", "b", "b"]


def test_what_a_worker_that_left_held_is_forgotten() -> None:
    places = Places()
    places.update(describe("a", "b"))
    places.hold([1, 2, 3, 4], ["a", "a", "b", "b"])
    places.update(describe("b", "c"))
    assert places.choose(2) == ["c", "c"]
    places.release(1)  # of the one that left
    places.release(3)
    assert Counter(places.choose(3)) == {"c": 2, "b": 1}


class InFlight(SchedulerPlugin):
    """The most blocks that each worker had at once, from their reading to their storing."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    def transition(self, key: Any, start: str, finish: str, *_: Any, worker: str = "", **__: Any) -> None:
        step = str(key).rpartition("-")[0]
        if finish == "processing" and step.startswith("load_block"):
            taker = self.scheduler.tasks[key].processing_on.address
            self.now[taker] += 1
            self.most[taker] = max(self.most[taker], self.now[taker])
        elif finish == "memory" and step.startswith("store_block"):
            self.now[worker] -= 1


def test_no_worker_of_a_cluster_is_given_more_blocks_than_its_window(make_slide: MakeSlide, tmp_path: Path) -> None:
    slide = make_slide(900, 800)
    options = {"processes": False, "dashboard_address": ":0", "threads_per_worker": 4}
    with (
        dask.config.set(SETTINGS),
        LocalCluster(n_workers=4, resources=dict(ROLES), **options) as cluster,
    ):
        blocks = InFlight(cluster.scheduler)
        cluster.scheduler.add_plugin(blocks)
        config = RunConfig(
            model="tests.tiny:build_slow", tissue=False, block_tiles=1, cluster=cluster.scheduler_address
        )
        run = parse_run(list_slides([str(slide)]), tmp_path / "out", config, lambda *_: None)
    assert [run.state(row.id) for row in run.rows] == [State.DONE]
    # Left to Dask, whichever worker is a little less busy gets all blocks that are submitted at that moment.
    assert set(blocks.most.values()) == {config.window}

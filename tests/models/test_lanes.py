from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from wsiparse.models import cgroups
from wsiparse.models.lanes import MOST_LANES, count_lanes, spread_tiles


def test_answers_come_in_the_order_of_the_tiles() -> None:
    assert spread_tiles(lambda tile, shift: tile + shift, range(40), 2) == list(range(2, 42))
    assert spread_tiles(lambda tile: tile, []) == []


def test_each_lane_leaves_torch_one_thread_and_the_caller_its_own() -> None:
    threads = torch.get_num_threads()
    assert set(spread_tiles(lambda _: torch.get_num_threads(), range(8))) == {1}
    assert torch.get_num_threads() == threads
    met_later = []
    later = threading.Thread(target=lambda: met_later.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert met_later == [threads]


def test_as_many_tiles_are_answered_at_once_as_there_are_lanes() -> None:
    count = count_lanes()
    meeting = threading.Barrier(count, timeout=60)
    assert sorted(spread_tiles(lambda _: meeting.wait(), range(count))) == list(range(count))


def test_what_fails_for_one_tile_fails_for_all() -> None:
    with pytest.raises(ZeroDivisionError):
        spread_tiles(lambda tile: 1 // tile, [1, 0, 1])


@pytest.mark.parametrize(
    ("limit", "count"), [("max 100000", 12), ("250000 100000", 2), ("50000 100000", 1), ("6400000 100000", 12)]
)
def test_a_container_has_as_many_lanes_as_it_may_use_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, count: int
) -> None:
    (tmp_path / "own").write_text("0::/\n")
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    monkeypatch.setattr(cgroups, "OWN", tmp_path / "own")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 12)
    assert count_lanes() == count
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert count_lanes() == min(count if count < 12 else 64, MOST_LANES)

from __future__ import annotations

import threading

import pytest
import torch

from wsiparse.models.lanes import count_lanes, spread_tiles


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

"""Batches for an accelerator: its streams are drawn here where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsiparse.models import feeding
from wsiparse.models.execution import Execution
from wsiparse.models.feeding import Feeder
from wsiparse.models.load import ModelSpec, load_model

HAS_CUDA = torch.cuda.is_available()
Log = list[str]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    """What streams are told, in order, of a device that does everything at once."""
    told: Log = []

    class Stream:
        def __init__(self, device: object) -> None:
            self.name = "sending" if not any("new" in line for line in told) else "fetching"
            told.append(f"new {self.name}")

        def wait_stream(self, other: Stream) -> None:
            told.append(f"{self.name} waits for {other.name}")

    class Event:
        def __init__(self, blocking: bool) -> None:
            assert blocking

        def record(self, stream: Stream) -> None:
            told.append(f"event of {stream.name}")

        def synchronize(self) -> None:
            told.append("host waits")

    @contextmanager
    def enter(stream: Stream) -> Iterator[None]:
        told.append(f"copy by {stream.name}")
        yield

    work = Stream(None)
    work.name = "work"
    told.clear()
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "stream", enter)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: work)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: told.append(f"kept for {stream.name}"))
    monkeypatch.setattr(feeding, "pin_memory", lambda shape, dtype: torch.empty(tuple(shape), dtype=dtype))
    return told


def draw_batches(count: int) -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(0).integers(0, 200, (count, 2, 3), np.uint8))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_answers_come_in_the_order_of_the_batches(log: Log, count: int) -> None:
    batches = draw_batches(count)
    answers = Feeder(torch.device("cpu"))(lambda batch, more: batch + more, batches, 7)
    np.testing.assert_array_equal(answers, [batch + 7 for batch in batches])


def test_a_batch_is_on_its_way_before_the_one_before_is_waited_for(log: Log) -> None:
    def answer(batch: Tensor) -> Tensor:
        log.append("work")
        return batch

    Feeder(torch.device("cpu"))(answer, draw_batches(3))
    done = [line for line in log if line in ("work", "copy by sending", "copy by fetching", "host waits")]
    send, work, fetch, wait = "copy by sending", "work", "copy by fetching", "host waits"
    assert done == [send, work, send, fetch, work, send, fetch, wait, work, fetch, wait, wait]


def test_no_stream_takes_what_another_has_not_finished(log: Log) -> None:
    Feeder(torch.device("cpu"))(lambda batch: batch, draw_batches(1))
    assert log[2:] == [
        "copy by sending",
        "work waits for sending",
        "kept for work",
        "fetching waits for work",
        "copy by fetching",
        "kept for fetching",
        "event of fetching",
        "host waits",
    ]


def test_processors_are_fed_without_streams() -> None:
    add = Execution().choose_mapper()
    np.testing.assert_array_equal(add(lambda batch: batch + 1, draw_batches(2)), np.array(draw_batches(2)) + 1)


@pytest.mark.skipif(not HAS_CUDA, reason="no CUDA device")
def test_a_devices_answers_are_those_of_one_batch_after_another() -> None:
    model = load_model(ModelSpec(device="cuda", batch=2))
    tiles = np.random.default_rng(0).integers(0, 256, (7, 256, 256, 3), np.uint8)
    each = [model.predict(tile[None], model.targets) for tile in tiles]
    np.testing.assert_array_equal(model.predict(tiles, model.targets), np.concatenate(each))

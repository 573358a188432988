"""One process is killed wherever, and the same command ends with the bytes of an undisturbed run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.fault import KILLED, Fault, Stage
from tests.faults.steps import SETTINGS, STEPS
from tests.outputs import hash_results


def serial_table() -> Iterator[Fault]:
    for name, calls in STEPS.items():
        step = name.replace("runs.planning:prepare", "runs.pipeline:prepare")
        yield Fault("client", "worker", step, max(calls // 2, 1))
        yield Fault("client", "worker", step, calls, after=True)


@pytest.mark.parametrize("fault", list(serial_table()), ids=str)
def test_one_process_is_killed(fault: Fault, stage: Stage, slides: Path, out: Path, expected: dict[str, str]) -> None:
    command = [str(slides), "-o", str(out), *SETTINGS]
    assert stage.run(command, fault, serial=True) == KILLED
    assert stage.struck()
    assert stage.run(command, serial=True) == 0
    assert hash_results(out) == expected

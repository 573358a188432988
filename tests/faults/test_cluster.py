"""Whatever of a cluster is killed and wherever, the same command ends with the bytes of an undisturbed run."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.fault import KILLED, Fault, Part, Place, Stage
from tests.faults.steps import CLIENT_STEPS, SETTINGS, STEPS
from tests.outputs import hash_results

LOST = 75


def table() -> Iterator[Fault]:
    """Every step once for each part that may die there, before it or after it, early or late."""
    for n, (step, calls) in enumerate(STEPS.items()):
        yield Fault("worker", "worker", step, 1)
        yield Fault("worker", "worker", step, max(calls // 2, 1), after=True)
        yield Fault("scheduler", "worker", step, max(calls // 2, 1), after=bool(n % 2))
    for n, (step, calls) in enumerate(CLIENT_STEPS.items()):
        yield Fault("client", "client", step, 1)
        yield Fault("client", "client", step, calls, after=True)
        yield Fault("scheduler", "client", step, max(calls // 2, 1), after=bool(n % 2))


def draw_faults(count: int) -> Iterator[Fault]:
    """As many faults as `make soak` asks for, the same ones every time."""
    chance = random.Random(0)
    for _ in range(count):
        victim: Part = chance.choice(("client", "worker", "scheduler"))
        in_client = victim == "client" or chance.random() < 0.3
        step, calls = chance.choice(list((CLIENT_STEPS if in_client and victim != "worker" else STEPS).items()))
        where: Place = "client" if step in CLIENT_STEPS else "worker"
        yield Fault(victim, where, step, chance.randint(1, calls), chance.random() < 0.5)


@pytest.mark.parametrize("fault", list(table()), ids=str)
def test_a_cluster_loses_a_part(fault: Fault, stage: Stage, slides: Path, out: Path, expected: dict[str, str]) -> None:
    survive(fault, stage, [str(slides), "-o", str(out), *SETTINGS])
    assert hash_results(out) == expected


@pytest.mark.parametrize("fault", list(draw_faults(int(os.environ.get("WSIPARSE_SOAK", "0")))), ids=str)
def test_soak(fault: Fault, stage: Stage, slides: Path, out: Path, expected: dict[str, str]) -> None:
    survive(fault, stage, [str(slides), "-o", str(out), *SETTINGS])
    assert hash_results(out) == expected


def survive(fault: Fault, stage: Stage, command: list[str]) -> None:
    """Run, strike, run again where the run itself ended."""
    code = stage.run(command, fault)
    assert stage.struck()
    expected_code = {"client": KILLED, "worker": 0, "scheduler": LOST}[fault.victim]
    # A scheduler killed at the very end may be missed by nobody.
    assert code in {expected_code, 0}
    if code:
        assert stage.run(command) == 0

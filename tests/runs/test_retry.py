"""Troubles that pass are waited for; the others are not tried twice."""

from __future__ import annotations

import errno
import time

import pytest

from wsiparse.errors import OutputError, SlideError
from wsiparse.runs.retry import is_passing, retry_passing


def raised_from(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OSError(errno.EIO, "I/O"), True),
        (OSError(errno.ESTALE, "stale handle"), True),
        (ConnectionResetError(errno.ECONNRESET, "reset"), True),
        (raised_from(OutputError("x"), OSError(errno.ETIMEDOUT, "timed out")), True),
        (OSError(errno.ENOSPC, "full"), False),
        (raised_from(OutputError("x"), OSError(errno.ENOSPC, "full")), False),
        (PermissionError(errno.EACCES, "no"), False),
        (FileNotFoundError(errno.ENOENT, "none"), False),
        (SlideError("x"), False),
        (ValueError("x"), False),
        (MemoryError(), False),
    ],
    ids=repr,
)
def test_what_is_tried_again(error: Exception, passes: bool, pauses: list[float]) -> None:
    assert is_passing(error) is passes
    calls: list[None] = []

    @retry_passing
    def fail() -> None:
        calls.append(None)
        raise error

    with pytest.raises(type(error)):
        fail()
    assert len(calls) == (4 if passes else 1)
    assert pauses == ([1.0, 5.0, 25.0] if passes else [])


def test_what_passes_is_forgotten(pauses: list[float]) -> None:
    troubles = [OSError(errno.EIO, "I/O"), OSError(errno.EIO, "I/O")]

    @retry_passing
    def read(answer: int) -> int:
        if troubles:
            raise troubles.pop()
        return answer

    assert read(7) == 7
    assert pauses == [1.0, 5.0]

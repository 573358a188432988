"""Troubles that pass by themselves are waited for, a few times and longer each time; all others are not tried twice."""

from __future__ import annotations

import errno
import functools
import logging
import time
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from wsiparse.errors import WsiparseError

Given = ParamSpec("Given")
Result = TypeVar("Result")

PAUSES_SECONDS = (1.0, 5.0, 25.0)
"""Before the second, third and last try: a share that stalls comes back within half a minute or not at all."""
PASSING = frozenset(
    getattr(errno, name)
    for name in (
        "EAGAIN", "EBUSY", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EHOSTDOWN", "EHOSTUNREACH", "EINTR", "EIO",
        "ENETDOWN", "ENETRESET", "ENETUNREACH", "EREMOTEIO", "ESTALE", "ETIMEDOUT",
    )
    if hasattr(errno, name)
)  # fmt: skip
"""A full disk, a missing file and a missing permission are not among them: trying again changes nothing."""

logger = logging.getLogger(__name__)


def lose(text: str) -> ConnectionError:
    """The error of a share or store that is gone, which `is_passing` knows to come back; its text stays one line."""
    lost = ConnectionError(text)
    lost.errno = errno.ESTALE
    return lost


def is_passing(error: BaseException) -> bool:
    """Whether an error, or what it was raised from, may be gone at the next try."""
    return any(isinstance(part, OSError) and part.errno in PASSING for part in _causes(error))


def retry_passing(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """The function, tried again after a pause where the trouble may pass; the last error is raised as it is."""

    @functools.wraps(function)
    def patient(*arguments: Given.args, **options: Given.kwargs) -> Result:
        for seconds in PAUSES_SECONDS:
            try:
                return function(*arguments, **options)
            except (OSError, ValueError, RuntimeError, WsiparseError) as error:
                if not is_passing(error):
                    raise
                logger.warning("%s: %s; trying again in %g s", function.__name__, error, seconds)
            time.sleep(seconds)
        return function(*arguments, **options)

    return patient


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__

"""Loops over pixels as machine code, where arrays as wholes would take ten times as long."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def compile_loop(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """A function of arrays and numbers, compiled by numba at its first call; other threads run while it does.

    It may call nothing that is compiled. What was compiled is kept beside the source, or else in the user's cache, for
    the processes that come after. Large arrays are best made by the caller: numpy asks for large pages, numba does not.
    """

    @cache
    def compile_once() -> Callable[_Arguments, _Result]:
        import numba  # some 60 MB, which a process that never calls it does without

        try:
            compiled: Callable[_Arguments, _Result] = numba.njit(cache=True, nogil=True)(function)
        except RuntimeError:  # no folder that it may write to: each process then compiles for itself
            compiled = numba.njit(nogil=True)(function)
        return compiled

    @wraps(function)
    def call(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        return compile_once()(*arguments, **named)

    return call

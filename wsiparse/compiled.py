"""Loops over pixels as machine code, where arrays as wholes would take ten times as long."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, update_wrapper
from types import FunctionType
from typing import Generic, ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class CompiledLoop(Generic[_Arguments, _Result]):
    """A function of arrays and numbers that becomes machine code at its first call."""

    def __init__(self, function: Callable[_Arguments, _Result]) -> None:
        self._function = function
        update_wrapper(self, function)

    def __call__(self, *arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        """What the function gives."""
        return self.machine_code(*arguments, **named)

    @cached_property
    def machine_code(self) -> Callable[_Arguments, _Result]:
        """What numba makes of it, for the arguments of each call, and of the loops that it calls."""
        import numba  # tens of megabytes, which a process that never calls it does without

        function = _put_in_place(self._function)
        try:
            compiled: Callable[_Arguments, _Result] = numba.njit(cache=True, nogil=True)(function)
        except RuntimeError:  # no folder that it may write to: each process then compiles for itself
            compiled = numba.njit(nogil=True)(function)
        return compiled


def compile_loop(function: Callable[_Arguments, _Result]) -> CompiledLoop[_Arguments, _Result]:
    """Have a function of arrays and numbers compiled by numba at its first call; other threads run while it does.

    What was compiled is kept beside the source, or else in the user's cache, for the processes that come after, until
    the module changes: it may call other such functions of its own module alone. Large arrays are best made by the
    caller: numpy asks for large pages, numba does not.
    """
    return CompiledLoop(function)


def _put_in_place(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """The function with machine code in place of the loops it calls."""
    assert isinstance(function, FunctionType)
    names = {name: function.__globals__.get(name) for name in function.__code__.co_names}
    loops = {name: value.machine_code for name, value in names.items() if isinstance(value, CompiledLoop)}
    inner = FunctionType(function.__code__, function.__globals__ | loops, function.__name__)
    update_wrapper(inner, function)
    return inner

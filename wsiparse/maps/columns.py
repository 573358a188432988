"""Arrow columns laid from bytes: Arrow's own constructors import pandas, time and memory of every worker."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def number_column(values: NDArray[np.float64] | Sequence[float | None]) -> pa.Array:
    """Numbers as float64; None is null, nan stays nan."""
    if isinstance(values, np.ndarray):
        numbers, present = values.astype(np.float64), np.full(len(values), True)
    else:
        numbers = np.array([0.0 if value is None else value for value in values], np.float64)
        present = np.array([value is not None for value in values], np.bool_)
    return _lay(pa.float64(), present, numbers)


def text_column(values: Sequence[str | None]) -> pa.Array:
    """Text as UTF-8; None is null."""
    return _lay_pieces(pa.string(), [None if value is None else value.encode() for value in values])


def bytes_column(values: Sequence[bytes | None]) -> pa.Array:
    """Bytes; None is null."""
    return _lay_pieces(pa.binary(), values)


def _lay_pieces(kind: pa.DataType, values: Sequence[bytes | None]) -> pa.Array:
    present = np.array([value is not None for value in values], np.bool_)
    pieces = [value or b"" for value in values]
    ends = np.cumsum([0, *map(len, pieces)]).astype(np.int32)
    return _lay(kind, present, ends, np.frombuffer(b"".join(pieces), np.uint8))


def _lay(kind: pa.DataType, present: NDArray[np.bool_], *parts: NDArray[np.generic]) -> pa.Array:
    bits = None if present.all() else pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.Array.from_buffers(kind, len(present), [bits, *map(pa.py_buffer, parts)])

"""Columns laid from bytes are those that Arrow would make."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from wsiparse.maps.columns import bytes_column, number_column, text_column

NUMBERS = st.floats(allow_nan=False)


@settings(deadline=None)  # Arrow imports pandas at its first array
@given(st.lists(st.none() | NUMBERS))
def test_numbers_that_may_be_missing(values: list[float | None]) -> None:
    assert number_column(values).equals(pa.array(values, pa.float64()))
    number_column(values).validate(full=True)


@settings(deadline=None)  # Arrow imports pandas at its first array
@given(st.lists(NUMBERS))
def test_whole_arrays_of_numbers(values: list[float]) -> None:
    array = np.array(values, np.float64)
    assert number_column(array).equals(pa.array(array, pa.float64()))
    assert number_column(array[::-1]).equals(pa.array(values[::-1], pa.float64()))


def test_a_number_that_is_none_is_null_and_nan_is_not() -> None:
    assert number_column([None, float("nan")]).null_count == 1
    assert number_column(np.array([float("nan")])).null_count == 0


@settings(deadline=None)  # Arrow imports pandas at its first array
@given(st.lists(st.none() | st.text()))
def test_text(values: list[str | None]) -> None:
    assert text_column(values).equals(pa.array(values, pa.string()))
    text_column(values).validate(full=True)


@settings(deadline=None)  # Arrow imports pandas at its first array
@given(st.lists(st.none() | st.binary()))
def test_bytes(values: list[bytes | None]) -> None:
    assert bytes_column(values).equals(pa.array(values, pa.binary()))


def test_they_do_without_pandas() -> None:
    code = (
        "import sys; from wsiparse.maps.columns import number_column, text_column; "
        "number_column([1.0, None]); text_column(['a', None]); print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

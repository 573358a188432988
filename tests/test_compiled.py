"""Compiled loops: the same results where nothing can be kept for the next process, and beside other threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsiparse.compiled import compile_loop

SOURCE = """
def add_all(values):
    total = 0
    for value in values:
        total += value
    return total
"""


@compile_loop
def stir(turns: int) -> int:
    """Numbers that follow from one another, so that no compiler can leave out the way."""
    number = np.uint64(1)
    for _ in range(turns):
        number = number * np.uint64(6364136223846793005) ^ (number >> np.uint64(33))
    return int(number)


@compile_loop
def square(number: int) -> int:
    return number * number


@compile_loop
def add_squares(numbers: NDArray[np.int64]) -> int:
    total = 0
    for number in numbers:
        total += square(number)
    return total


def test_a_loop_calls_another() -> None:
    assert add_squares(np.arange(5)) == 30


def test_without_a_place_to_keep_it_a_loop_is_compiled_all_the_same() -> None:
    names: dict[str, Any] = {}
    exec(compile(SOURCE, "<no file>", "exec"), names)
    assert compile_loop(names["add_all"])(np.arange(5)) == 10


def test_other_threads_run_beside_a_loop() -> None:
    stir(1)
    ticks, over = [], threading.Event()

    def tick() -> None:
        while not over.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    other = threading.Thread(target=tick)
    other.start()
    start = time.perf_counter()
    stir(300_000_000)
    third = (time.perf_counter() - start) / 3
    over.set()
    other.join()
    assert any(start + third < moment < start + 2 * third for moment in ticks)


def test_what_was_compiled_is_kept_for_the_next_process(tmp_path: Path) -> None:
    command = "from wsiparse.annotations.splitting import *; import numpy as np; "
    command += "split_objects(np.ones((9, 9), bool), np.ones((9, 9), np.uint8), 0.5, Splitting())"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", command], env=environment, check=True)
        files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}
        assert len(files) >= 5
    subprocess.run([sys.executable, "-c", command], env=environment, check=True)
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}

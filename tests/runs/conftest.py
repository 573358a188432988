"""What tests of troubled runs share: two small slides, what they give undisturbed, runs in a process of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.drawing import write_slides
from tests.outputs import hash_results
from wsiparse.cli import main

SIZE = (301, 203)
TONE = ["--model", "tests.tiny:build_tone", "--no-tissue", "--block-tiles", "2"]


def run(*arguments: object, cluster: str = "serial") -> int:
    return main(["run", *map(str, arguments), "--cluster", cluster])


class Start(Protocol):
    """Starts a run in a process of its own, which does not outlive the test."""

    def __call__(self, *arguments: object, **environment: str) -> subprocess.Popen[str]: ...


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C is heard here and by what is started; a shell has what it runs in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(*arguments: object, **environment: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "wsiparse", "run", *map(str, arguments)]
            pipe = subprocess.PIPE
            variables = {**os.environ, **environment}
            process = subprocess.Popen(command, env=variables, stdout=pipe, stderr=pipe, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield begin


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    return write_slides(tmp_path / "slides", 2, SIZE)


@pytest.fixture
def expected(slides: Path, tmp_path: Path) -> dict[str, str]:
    assert run(slides, "-o", tmp_path / "expected", *TONE) == 0
    return hash_results(tmp_path / "expected")

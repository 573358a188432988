"""Other tools of the field, asked in environments of their own: `python -m benchmarks.peers` makes them."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ENVIRONMENTS = Path(os.environ.get("WSIPARSE_PEERS", Path(__file__).parents[1] / "benchmarks"))


def ask_peer(module: str, program: str, *arguments: str) -> Any:
    """The JSON that a program prints last in the environment that has the module; skips where none has."""
    python = find_python(module)
    if python is None:
        pytest.skip(f"{module} is not here; make it with python -m benchmarks.peers")
    done = subprocess.run([python, "-c", program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@functools.cache
def find_python(module: str) -> Path | None:
    for python in sorted(ENVIRONMENTS.glob(".peers*/bin/python")):
        if not subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode:
            return python
    return None

"""Other tools of the field, asked in an environment of their own: `python -m benchmarks.peers` makes it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

PYTHON = Path(os.environ.get("WSIPARSE_PEERS", Path(__file__).parents[1] / "benchmarks/.peers")) / "bin/python"


def ask_peer(module: str, program: str, *arguments: str) -> Any:
    """The JSON that a program prints last in the peers' environment; skips where that lacks the module."""
    if not PYTHON.exists() or subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True).returncode:
        pytest.skip(f"{module} is not in the peers' environment; make it with python -m benchmarks.peers")
    done = subprocess.run([PYTHON, "-c", program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])

"""Text-prompted parsing of whole-slide images."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsiparse.runs.api import open_run, run

__version__ = "0.1.0"
__all__ = ["__version__", "open_run", "run"]


def __getattr__(name: str) -> Any:
    # `wsiparse --help` and a worker's first import should not wait for torch and Dask.
    if name in {"open_run", "run"}:
        return getattr(importlib.import_module("wsiparse.runs.api"), name)
    raise AttributeError(f"module 'wsiparse' has no attribute {name!r}")

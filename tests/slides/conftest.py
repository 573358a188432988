from __future__ import annotations

from pathlib import Path

import fsspec
import pytest


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that copies of remote slides go to."""
    monkeypatch.setenv("WSIPARSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(name: str, content: bytes) -> str:
    """Store a slide behind an address."""
    fsspec.filesystem("memory").pipe_file(f"/slides/{name}", content)
    return f"memory://slides/{name}"

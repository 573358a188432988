"""What a run wrote, reduced to what must not depend on how and where it was run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import orjson

RECORDS = {"run.json", "slides.csv"}
"""They tell of the command and the machine."""
TIMED = ("seconds", "model_wait_share")


def hash_results(folder: Path) -> dict[str, str]:
    """SHA-256 of every result by its path; a summary without its seconds."""
    files = (path for path in folder.rglob("*") if path.is_file() and _is_result(path.relative_to(folder)))
    return {str(path.relative_to(folder)): _hash(path) for path in files}


def _is_result(path: Path) -> bool:
    return path.parts[0] not in {"submit", ".lock", *RECORDS}


def _hash(path: Path) -> str:
    content = path.read_bytes()
    if path.name == "summary.json":
        summary = {key: value for key, value in orjson.loads(content).items() if key not in TIMED}
        content = orjson.dumps(summary)
    return hashlib.sha256(content).hexdigest()

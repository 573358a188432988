"""What run.json keeps: enough to carry the same run out again, and to know where and by whom it was."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from wsiparse import __version__
from wsiparse.maps.validity import digest_fits
from wsiparse.runs.machine import describe_machine
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.order import Order
from wsiparse.runs.pipeline import ModelFacts
from wsiparse.runs.run import fingerprint_run

LIBRARIES = ("dask", "distributed", "imagecodecs", "numpy", "openslide-python", "rasterio", "shapely", "torch", "zarr")
BATCH_VARIABLES = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_RESTART_COUNT", "PBS_JOBID", "LSB_JOBID")


def record_run(order: Order, facts: ModelFacts, rows: Sequence[ManifestRow]) -> dict[str, Any]:
    """The record of a run that starts; the digest of each slide's file stands in its own summary.json."""
    targets = [asdict(target) for target in order.targets]
    decisive = {"model": facts.digest, "targets": targets, **order.config.result_settings, "version": __version__}
    decisive["validity"] = digest_fits(order.rules.fits)
    return {
        "wsiparse": __version__,
        "revision": read_revision(Path(__file__).parents[1]),
        "fingerprint": fingerprint_run(decisive),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "folder": os.getcwd(),
        "model": {"name": facts.name, "digest": facts.digest, "licence": facts.licence, "tile": facts.tiles.own},
        "targets": targets,
        "matches": [{"text": m.text, "target": m.target.name, "score": round(m.score, 4)} for m in order.matches],
        "validity": {"targets": list(order.rules.fits), "digest": decisive["validity"]},
        "config": order.config.model_dump(),
        "slides": {"count": len(rows), "digest": _digest_rows(rows)},
        "machine": {**describe_machine(), "accelerators": list(facts.accelerators)},
        "batch": {name: os.environ[name] for name in BATCH_VARIABLES if name in os.environ},
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def read_revision(package: Path) -> str | None:
    """The git revision that `package` stands at, with `-dirty` where files were changed; None outside its checkout."""
    if _ask_git(package, "rev-parse", "--show-toplevel") != str(package.resolve().parent):
        return None
    return _ask_git(package, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _ask_git(folder: Path, *question: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *question], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _digest_rows(rows: Sequence[ManifestRow]) -> str:
    return hashlib.sha256("\n".join(row.model_dump_json() for row in rows).encode()).hexdigest()

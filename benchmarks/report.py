"""What every benchmark says at its end: a table for people, and JSON with the machine it was measured on."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

Row = Mapping[str, object]

RESULTS = Path(__file__).parent / "results"
_PACKAGES = (
    "wsiparse",
    "numpy",
    "torch",
    "zarr",
    "dask",
    "openslide-python",
    "openslide-bin",
    "tifffile",
    "imagecodecs",
)


def describe_machine() -> dict[str, object]:
    """Processor, cores, memory, load and versions: what a figure depends on."""
    return {
        "processor": _read_processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load_1_minute": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version for name in _PACKAGES if (version := _find_version(name))},
    }


def print_table(title: str, rows: Sequence[Row]) -> None:
    """Print rows under the keys of the first one."""
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
    for row in rows:
        table.add_row(*(_format(row.get(name)) for name in rows[0]))
    Console(width=None if os.isatty(1) else 160).print(table)


def write_result(name: str, rows: Sequence[Row], quick: bool = False) -> Path:
    """Write rows and the machine to results/<name>.json and return its path; quick ones to a file of their own."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}{'_quick' if quick else ''}.json"
    measured = datetime.now(UTC).isoformat(timespec="seconds")
    document = {"measured": measured, "machine": describe_machine(), "rows": [dict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path


def _format(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return "" if value is None else str(value)


def _find_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _read_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")

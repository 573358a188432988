"""Environments of the peers that cannot share ours: made once, beside this file.

    python -m benchmarks.peers [NAME …]

`tools` (6.5 GB with its torch) has TIAToolbox, which benchmarks run against; `spatialdata` and `cluster` (Snakemake,
the Dask operator's and Kubernetes' own definitions) are asked by tests, which skip what is not here. Where one cannot
be had (no network, no room), benchmarks say so in the rows of these peers and go on.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
ENVIRONMENTS = {
    "tools": (".peers", ("tiatoolbox==2.1.3", "tiffslide")),
    "spatialdata": (".peers-spatialdata", ("spatialdata",)),
    "cluster": (".peers-cluster", ("dask-kubernetes", "jsonschema", "kubernetes>=37", "pyyaml", "snakemake>=9")),
}
SECONDS = 1800
ABSENT = "environment of the peers could not be made"


@functools.cache
def find_peers(name: str = "tools") -> Path | None:
    """The interpreter of an environment, made if it is not there; None where it cannot be had."""
    folder, packages = ENVIRONMENTS[name]
    ready, python = FOLDER / folder / "ready", FOLDER / folder / "bin/python"
    if not ready.exists() and _make(python, packages):
        ready.touch()
    return python if ready.exists() else None


def peer_python(module: str, *arguments: object) -> list[str] | None:
    """A command that runs a module of benchmarks/rivals beside the tools; None without them."""
    python = find_peers()
    return None if python is None else [str(python), "-m", module, *(str(argument) for argument in arguments)]


def _make(python: Path, packages: tuple[str, ...]) -> bool:
    folder = python.parents[1]
    shutil.rmtree(folder, ignore_errors=True)
    make = [sys.executable, "-m", "venv", str(folder)]
    install = [str(python), "-m", "pip", "install", "--quiet", *packages]
    try:
        for command in (make, install):
            subprocess.run(command, check=True, timeout=SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{ABSENT}: {error}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    for chosen in sys.argv[1:] or ENVIRONMENTS:
        print(find_peers(chosen) or f"{chosen}: {ABSENT}")

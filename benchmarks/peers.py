"""The environment of the peers that cannot share ours: made once, in benchmarks/.peers, 6.5 GB with its torch.

    python -m benchmarks.peers

Where it cannot be had (no network, no room), benchmarks say so in the rows of these peers and go on.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / ".peers"
PACKAGES = ("tiatoolbox==2.1.3", "tiffslide")
SECONDS = 1800
ABSENT = "environment of the peers could not be made"


@functools.cache
def find_peers() -> Path | None:
    """The interpreter of the peers' environment, made if it is not there; None where it cannot be had."""
    ready, python = FOLDER / "ready", FOLDER / "bin/python"
    if not ready.exists() and _make(python):
        ready.touch()
    return python if ready.exists() else None


def peer_python(module: str, *arguments: object) -> list[str] | None:
    """A command that runs a module of benchmarks/rivals in the peers' environment; None without one."""
    python = find_peers()
    return None if python is None else [str(python), "-m", module, *(str(argument) for argument in arguments)]


def _make(python: Path) -> bool:
    shutil.rmtree(FOLDER, ignore_errors=True)
    make = [sys.executable, "-m", "venv", str(FOLDER)]
    install = [str(python), "-m", "pip", "install", "--quiet", *PACKAGES]
    try:
        for command in (make, install):
            subprocess.run(command, check=True, timeout=SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{ABSENT}: {error}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    print(find_peers() or ABSENT)

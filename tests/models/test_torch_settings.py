"""What torch reads from the environment when it is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SETTINGS = {"OMP_WAIT_POLICY": "PASSIVE", "THP_MEM_ALLOC_ENABLE": "1"}
SHOW = "import os, sys, wsiparse.models; print('torch' in sys.modules, *(os.environ[name] for name in sys.argv[1:]))"


def show(own: dict[str, str]) -> list[str]:
    """Whether torch came with the package, and the settings that it would read then."""
    others = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    command = [sys.executable, "-c", SHOW, *SETTINGS]
    return subprocess.run(command, env={**others, **own}, check=True, capture_output=True, text=True).stdout.split()


def test_settings_are_there_before_torch_is() -> None:
    assert show({}) == ["False", *SETTINGS.values()]


@pytest.mark.parametrize("own", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"THP_MEM_ALLOC_ENABLE": "0"}])
def test_own_settings_stand(own: dict[str, str]) -> None:
    assert show(own) == ["False", *(SETTINGS | own).values()]

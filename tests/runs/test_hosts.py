"""Workers on hosts of their own, as network namespaces of this machine; the cable of one is pulled in mid-run."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.drawing import write_slides
from tests.outputs import hash_results
from tests.waiting import find_blocks, wait_for
from wsiparse.cli import main

pytestmark = [pytest.mark.netns, pytest.mark.slow]
SIZE = (455, 389)
SETTINGS = ["--block-tiles", "1", "--no-tissue"]
BRIDGE, NET = "wsp-br", "198.18.77"
# A host that is cut off says nothing; these are how long its silence is borne.
PATIENCE = {
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "20s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "15s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s",
}
DASK = [sys.executable, "-m", "dask"]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Two namespaces behind a bridge, whose own address is the first of the net."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("namespaces need root and iproute2")
    names = ["wsp-1", "wsp-2"]
    remove_hosts(names)
    try:
        ip("link", "add", BRIDGE, "type", "bridge")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no bridge can be made here: {error.stderr.decode().strip()}")
    ip("addr", "add", f"{NET}.1/24", "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")
    for name, last in zip(names, itertools.count(2), strict=False):
        add_host(name, f"{NET}.{last}/24")
    yield names
    remove_hosts(names)


def add_host(name: str, address: str) -> None:
    ip("netns", "add", name)
    ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
    ip("link", "set", name, "master", BRIDGE, "up")
    for words in (["addr", "add", address, "dev", "eth0"], ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"]):
        ip("-n", name, *words)


def remove_hosts(names: list[str]) -> None:
    for words in (*(["netns", "del", name] for name in names), ["link", "del", BRIDGE]):
        subprocess.run(["ip", *words], check=False, capture_output=True)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    with ExitStack() as stack:

        def begin(*command: str) -> subprocess.Popen[bytes]:
            log = stack.enter_context((tmp_path / "log").open("ab"))
            process = subprocess.Popen(command, env={**os.environ, **PATIENCE}, stdout=log, stderr=log)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield begin


def test_a_host_that_is_cut_off_costs_its_blocks_alone(
    hosts: list[str], start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    slides = write_slides(tmp_path / "slides", 2, SIZE)
    address = f"tcp://{NET}.1:8786"
    start(*DASK, "scheduler", "--host", f"{NET}.1", "--port", "8786", "--no-dashboard")
    for name in hosts:
        worker = ["worker", address, "--nthreads", "4", "--resources", "GPU=1 READ=2", "--memory-limit", "0"]
        start("ip", "netns", "exec", name, *DASK, *worker, "--no-dashboard", "--local-directory", str(tmp_path / name))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "wsiparse", "run", str(slides), "-o", str(out), "--cluster", address, *SETTINGS]
    run = start(*command, "--model", "tests.tiny:build_slow")
    wait_for(lambda: len(find_blocks(out)) > 10, seconds=120)
    ip("link", "set", hosts[1], "down")
    assert run.wait(timeout=300) == 0, (tmp_path / "log").read_text()[-4000:]
    expected = tmp_path / "expected"
    tone = ["--model", "tests.tiny:build_tone", "--cluster", "serial"]
    assert main(["run", str(slides), "-o", str(expected), *SETTINGS, *tone]) == 0
    assert hash_results(out) == hash_results(expected)

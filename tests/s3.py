"""A real S3 server on this machine, for results behind addresses: moto's, in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import fsspec

from tests.waiting import wait_for

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextmanager
def serve_bucket(bucket: str) -> Iterator[dict[str, str]]:
    """Serve one empty bucket; yields the environment variables by which clients find it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(lambda: answers(port))
            yield {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "WSIPARSE_TEST_BUCKET": bucket}
        finally:
            server.kill()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def read_bucket(root: str) -> dict[str, bytes]:
    """Every object below a place, by its name from there."""
    files = fsspec.filesystem("s3")
    files.invalidate_cache()
    # Temporary objects and locks may be gone since they were listed.
    found = files.cat(files.find(root) or [f"{root}/none"], on_error="omit")
    return {path.removeprefix(f"{root}/"): content for path, content in found.items()}

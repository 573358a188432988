"""Slides behind addresses: the same results as from a file, and what is said where they cannot be had."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import aiohttp
import fsspec
import pytest

from tests.conftest import MakeSlide
from tests.outputs import hash_results
from tests.slides.conftest import put
from wsiparse.cli import main
from wsiparse.errors import LostSlideError, SlideError
from wsiparse.runs.manifest import list_slides
from wsiparse.runs.retry import is_passing
from wsiparse.runs.run import open_run
from wsiparse.slides.open import open_slide
from wsiparse.slides.slide_cache import fetch_slide

pytestmark = pytest.mark.usefixtures("cache")
MODEL = ["--model", "tests.tiny:build_tone", "--block-tiles", "2"]


def test_a_remote_slide_is_the_local_one(make_slide: MakeSlide, cache: Path) -> None:
    local = make_slide(301, 203)
    url = put("drawn.svs", local.read_bytes())
    near, far = open_slide(local), open_slide(url)
    assert far.slide.id == "drawn"
    assert (near.read_region(near.slide.grid.region, 0) == far.read_region(near.slide.grid.region, 0)).all()
    assert [path.name.partition("-")[2] for path in cache.glob("[!.]*")] == ["drawn.svs"]


@pytest.mark.parametrize("cluster", ["serial", "local"])
def test_a_cohort_of_addresses_gives_the_same_bytes(make_slide: MakeSlide, tmp_path: Path, cluster: str) -> None:
    local = make_slide(301, 203)
    (tmp_path / "m.csv").write_text(f"slide\nfile://{local}\n")
    for name, source in (("near", local), ("far", tmp_path / "m.csv")):
        assert main(["run", str(source), "-o", str(tmp_path / name), "--cluster", cluster, *MODEL]) == 0
    near, far = hash_results(tmp_path / "near"), hash_results(tmp_path / "far")
    assert {name for name in near if near[name] != far[name]} == {"drawn/summary.json"}
    assert near.keys() == far.keys()
    assert open_run(tmp_path / "far").summary("drawn")["path"] == f"file://{local}"


@pytest.mark.parametrize(
    ("url", "text"), [("memory://slides/none.svs", "no such file"), ("what://slides/a.svs", "fsspec knows")]
)
def test_addresses_that_lead_nowhere(url: str, text: str) -> None:
    with pytest.raises(SlideError, match=text):
        open_slide(url)


def test_addresses_name_their_slides() -> None:
    rows = list_slides(["https://host/a%20b.svs?version=3", "s3://bucket/x/a.svs", "s3://bucket/y/a.svs"])
    assert [row.slide for row in rows][1] == "s3://bucket/x/a.svs"
    assert len({row.id for row in rows}) == 3
    assert rows[0].id == "a-20b"


Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serve(answer: Answer) -> Iterator[str]:
    """A server on this machine that gives every request one answer; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        do_HEAD = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            """Nobody reads it."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def refuse(status: int) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


def give(content: bytes) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(content)

    return answer


def cut(request: BaseHTTPRequestHandler) -> None:
    """Promise more than is sent."""
    request.send_response(200)
    request.send_header("Content-Length", "100000")
    request.end_headers()
    request.wfile.write(b"half")
    request.close_connection = True


@pytest.mark.parametrize(
    ("status", "text"), [(404, "no such file"), (410, "no such file"), (401, "credentials"), (403, "credentials")]
)
def test_what_a_server_refuses_for_good_is_not_waited_for(status: int, text: str) -> None:
    with serve(refuse(status)) as url, pytest.raises(SlideError, match=text) as caught:
        fetch_slide(f"{url}/a.svs")
    assert not is_passing(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("answer", [refuse(503), refuse(429), cut], ids=["503", "429", "cut"])
def test_what_may_pass_is_known_to(answer: Answer) -> None:
    with serve(answer) as url, pytest.raises(LostSlideError, match="cannot be reached") as caught:
        fetch_slide(f"{url}/a.svs")
    assert is_passing(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a.svs", "s3://bucket/a.svs"])
def test_a_server_that_is_down_may_come_back(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(LostSlideError, match="cannot be reached") as caught:
        fetch_slide(url)
    assert is_passing(caught.value)


def trickle(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "8")
    request.end_headers()
    for part in b"pixels.." if request.command == "GET" else b"":
        time.sleep(0.1)
        request.wfile.write(bytes([part]))


def test_a_slide_may_take_longer_than_a_web_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiohttp.client.DEFAULT_TIMEOUT", aiohttp.ClientTimeout(total=0.3))
    with serve(trickle) as url, fetch_slide(f"{url}/a.svs") as copy:
        assert copy.read_bytes() == b"pixels.."


class FullStore:
    """Gives a file that the cache's disk has no room for."""

    def info(self, path: str) -> dict[str, object]:
        return {"size": 3, "type": "file"}

    def get_file(self, path: str, to: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class NoCredentialsError(Exception):
    """As botocore names it."""


class LockedStore(FullStore):
    def info(self, path: str) -> dict[str, object]:
        raise NoCredentialsError("Unable to locate credentials")


@pytest.mark.parametrize(
    ("store", "text"), [(FullStore(), "WSIPARSE_CACHE"), (LockedStore(), "give credentials, for S3 AWS_ACCESS_KEY_ID")]
)
def test_what_a_person_has_to_mend_says_how(store: FullStore, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url: (store, url))
    with pytest.raises(SlideError, match=text) as caught:
        fetch_slide("s3://bucket/a.svs")
    assert not is_passing(caught.value)


@pytest.mark.parametrize("cluster", ["serial", "local"])
def test_remote_slides_fail_alike_on_every_engine(tmp_path: Path, cluster: str) -> None:
    with serve(refuse(404)) as url:
        assert main(["run", f"{url}/a.svs", "-o", str(tmp_path / "out"), "--cluster", cluster, *MODEL]) == 2
        failure = open_run(tmp_path / "out").failure("a")
        assert failure["reason"] == "slide_unreadable"
        assert failure["message"] == f"{url}/a.svs: no such file; check the address in the manifest or command"


@pytest.mark.parametrize("cluster", ["serial", "local"])
def test_an_outage_is_waited_for_and_then_no_bug(
    make_slide: MakeSlide, tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsiparse.runs.retry.PAUSES_SECONDS", (0.01, 0.01))
    command = ["--cluster", cluster, "--no-tissue", *MODEL]
    with serve(refuse(503)) as url:
        assert main(["run", f"{url}/a.svs", "-o", str(tmp_path / "down"), *command]) == 2
    assert open_run(tmp_path / "down").failure("a")["reason"] == "io_error"
    answers = iter([refuse(503)] * 4)  # two of each try: HEAD, then GET
    whole = give(make_slide(301, 203).read_bytes())
    with serve(lambda request: next(answers, whole)(request)) as url:
        assert main(["run", f"{url}/a.svs", "-o", str(tmp_path / "up"), *command]) == 0

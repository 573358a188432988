"""The cache of remote slides: fetched once, kept within bounds, and held while they are read."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import MakeSlide
from tests.slides.conftest import put
from wsiparse.errors import PlanError
from wsiparse.geometry import Region
from wsiparse.slides.open import open_slide
from wsiparse.slides.slide_cache import fetch_slide

pytestmark = pytest.mark.usefixtures("cache")


def cached(cache: Path) -> list[str]:
    return sorted(path.name.partition("-")[2] for path in cache.iterdir() if not path.name.startswith("."))


def test_a_slide_is_fetched_once_until_it_changes(cache: Path) -> None:
    url = put("a.svs", b"one")
    first = fetch_slide(url).path
    inode = first.stat().st_ino
    assert fetch_slide(url).path.stat().st_ino == inode
    assert fetch_slide(put("a.svs", b"three")).path.read_bytes() == b"three"


def test_the_longest_unused_makes_room(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSIPARSE_CACHE_GB", "2.5e-6")
    for n, name in enumerate("abc"):
        os.utime(fetch_slide(put(name, bytes(1000))).path, (n, n))
        if name == "b":
            fetch_slide("memory://slides/a")  # used again
    assert cached(cache) == ["a", "c"]


def test_a_slide_that_is_open_makes_no_room(
    make_slide: MakeSlide, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers open their file when pixels are asked for, and again after an error."""
    content = make_slide(301, 203).read_bytes()
    monkeypatch.setenv("WSIPARSE_CACHE_GB", str(len(content) * 1.5e-9))
    first = open_slide(put("a.svs", content))
    open_slide(put("b.svs", content))
    for _ in range(2):
        assert first.read_region(Region(0, 0, 9, 9), 0).shape == (9, 9, 3)
        first.close()
    del first
    open_slide(put("c.svs", content))
    assert cached(cache) == ["c.svs"]


def read_often(url: str) -> int:
    """How often all of a slide was there."""
    return sum(len(read_bytes(url)) == 1000 for _ in range(40))


def read_bytes(url: str) -> bytes:
    with fetch_slide(url) as copy:
        return copy.read_bytes()


def test_a_full_cache_serves_several_at_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSIPARSE_CACHE_GB", "2.5e-6")
    urls = [put(name, bytes(1000)) for name in "abcdef"]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(read_often, urls)) == [40] * 6
    fetch_slide(put("last", bytes(1000)))
    assert len(cached(cache)) == 2


def test_a_copy_removed_by_hand_meanwhile_is_no_trouble(cache: Path) -> None:
    cache.mkdir()
    (cache / "gone").symlink_to("nowhere")
    assert read_bytes(put("a", bytes(1000))) == bytes(1000)


def test_what_is_larger_than_the_cache_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSIPARSE_CACHE_GB", "1e-6")
    with pytest.raises(PlanError, match="WSIPARSE_CACHE_GB"):
        fetch_slide(put("big", bytes(2000)))

"""The cache of remote slides on this machine: each copied whole, once for all processes, within a bounded size."""

from __future__ import annotations

import fcntl
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wsiparse.errors import PlanError
from wsiparse.files import write_whole
from wsiparse.slides.remote import CACHE_VARIABLE, find_slide, name_remote

LIMIT_VARIABLE = "WSIPARSE_CACHE_GB"
"""Environment variable: how much is kept."""
LIMIT_GB = 100.0


class LocalCopy:
    """A copy of a remote slide in the cache, which stays there until it is released or this object is gone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # The system lets go of a lock when its holder dies, in whatever way.
        descriptor = os.open(path, os.O_RDONLY)
        self._close = weakref.finalize(self, os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_SH)

    def __enter__(self) -> Path:
        """The path of the copy, for a block."""
        return self.path

    def __exit__(self, *_: object) -> None:
        """Release it."""
        self.release()

    def release(self) -> None:
        """Let others make room of it; nothing where that is done."""
        self._close()


def fetch_slide(url: str) -> LocalCopy:
    """The local copy of a remote slide of one file, fetched once for all processes of a machine.

    Slides that nobody holds make room, those not used for longest first. Raises SlideError where the slide cannot be
    had, LostSlideError where that may pass, PlanError where it is larger than the whole cache.
    """
    slide = find_slide(url)
    copy = _cache_folder() / f"{slide.key[:16]}-{name_remote(url)}"
    copy.parent.mkdir(parents=True, exist_ok=True)
    with _alone(copy):
        if not copy.exists():
            with _alone(copy.parent / "cache"):
                _make_room(copy.parent, slide.size, url)
            with write_whole(copy) as partial:
                slide.copy_to(partial)
        os.utime(copy)
        return LocalCopy(copy)


def _cache_folder() -> Path:
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache/wsiparse/slides")


def _make_room(folder: Path, size: int, url: str) -> None:
    limit = float(os.environ.get(LIMIT_VARIABLE) or LIMIT_GB) * 1e9
    if size > limit:
        raise PlanError(
            f"{url}: {size / 1e9:.1f} GB, and the cache may hold {limit / 1e9:.1f} GB; raise {LIMIT_VARIABLE}"
        )
    kept = _list_copies(folder)
    total = sum(bytes_ for _, bytes_, _ in kept)
    for _, bytes_, oldest in sorted(kept):
        if total + size <= limit:
            return
        total -= bytes_ if _remove_unused(oldest) else 0


def _list_copies(folder: Path) -> list[tuple[float, int, Path]]:
    """When each copy was used last, its bytes and its path."""
    found = []
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # removed by hand
            about = file.stat()
            found.append((about.st_mtime, about.st_size, file))
    return [copy for copy in found if not copy[2].name.startswith(".")]


def _remove_unused(copy: Path) -> bool:
    """Whether a copy is gone; one that is being fetched or held stays."""
    with suppress(OSError), _lock_of(copy).open("w") as fetching, copy.open("r+b") as held:
        for file in (fetching, held):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        copy.unlink()
    return not copy.exists()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process of this machine at a time, for one slide or the whole cache."""
    with _lock_of(path).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")

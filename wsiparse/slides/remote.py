"""Slides behind an address (s3://, https://, …): copied whole into a local cache of bounded size, and read there."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import fsspec

from wsiparse.errors import PlanError, SlideError
from wsiparse.files import write_whole

CACHE_VARIABLE, LIMIT_VARIABLE = "WSIPARSE_CACHE", "WSIPARSE_CACHE_GB"
"""Environment variables: the cache's folder, best on a fast local disk, and its size."""
LIMIT_GB = 100.0


def is_remote(path: str) -> bool:
    """Whether a slide's path is an address and no path of this machine."""
    return "://" in path


def name_remote(url: str) -> str:
    """The name of the file behind an address."""
    return PurePosixPath(url.partition("?")[0]).name


def fetch_slide(url: str) -> Path:
    """The local copy of a remote slide of one file, fetched once for all processes of a machine.

    Slides not used for longest make room. Raises SlideError where the slide cannot be had, PlanError where it is larger
    than the whole cache.
    """
    files, path, size, key = _look_up(url)
    copy = _cache_folder() / f"{key[:16]}-{name_remote(url)}"
    copy.parent.mkdir(parents=True, exist_ok=True)
    with _alone(copy):
        if not copy.exists():
            _make_room(copy.parent, size, url)
            with write_whole(copy) as partial:
                _copy(files, path, partial, url)
        os.utime(copy)
    return copy


def _copy(files: fsspec.AbstractFileSystem, path: str, partial: Path, url: str) -> None:
    try:
        files.get_file(path, str(partial))
    except OSError as error:
        raise SlideError(f"{url}: cannot be fetched ({error}); look at the network and the cache's disk") from error


def _look_up(url: str) -> tuple[fsspec.AbstractFileSystem, str, int, str]:
    """The file system of an address, the path there, its bytes, and a key that changes with the file."""
    try:
        files, path = fsspec.core.url_to_fs(url)
        about = files.info(path)
    except ImportError as error:
        raise SlideError(f"{url}: {error}; install what fsspec needs for this kind of address") from error
    except FileNotFoundError as error:
        raise SlideError(f"{url}: no such file; check the address in the manifest or command") from error
    except ValueError as error:
        raise SlideError(f"{url}: {error}; expected an address that fsspec knows") from error
    if about.get("size") is None or about.get("type") == "directory":
        raise SlideError(f"{url}: no file of a known size; remote slides are single files, copy others here")
    marks = [str(about.get(mark)) for mark in ("size", "ETag", "etag", "mtime", "created", "LastModified")]
    return files, path, int(about["size"]), hashlib.sha256("\n".join([url, *marks]).encode()).hexdigest()


def _cache_folder() -> Path:
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache/wsiparse/slides")


def _make_room(folder: Path, size: int, url: str) -> None:
    limit = float(os.environ.get(LIMIT_VARIABLE) or LIMIT_GB) * 1e9
    if size > limit:
        raise PlanError(
            f"{url}: {size / 1e9:.1f} GB, and the cache may hold {limit / 1e9:.1f} GB; raise {LIMIT_VARIABLE}"
        )
    kept = [file for file in folder.iterdir() if not file.name.startswith(".")]
    total = sum(file.stat().st_size for file in kept)
    for oldest in sorted(kept, key=lambda file: file.stat().st_mtime):
        if total + size <= limit:
            return
        # Whoever still reads it keeps it until it is closed.
        total -= oldest.stat().st_size
        oldest.unlink(missing_ok=True)


@contextmanager
def _alone(copy: Path) -> Iterator[None]:
    """One process of this machine at a time, for one slide."""
    with copy.with_name(f".{copy.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

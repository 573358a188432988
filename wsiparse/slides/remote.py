"""Slides behind an address (s3://, https://, …): copied whole into a local cache of bounded size, and read there."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import importlib
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import ParamSpec, TypeVar

import fsspec

from wsiparse.errors import LostSlideError, PlanError, SlideError
from wsiparse.files import write_whole

CACHE_VARIABLE, LIMIT_VARIABLE = "WSIPARSE_CACHE", "WSIPARSE_CACHE_GB"
"""Environment variables: the cache's folder, best on a fast local disk, and its size."""
LIMIT_GB = 100.0
CONNECT_SECONDS, SILENT_SECONDS = 30, 60
"""How long a web server may take to answer at all, and between two parts of a slide."""
MISSING, FORBIDDEN = (404, 410), (401, 403)
"""Of HTTP's answers those that trying again does not change."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""What a system says of a disk that takes no more."""

Given = ParamSpec("Given")
Result = TypeVar("Result")


def is_remote(path: str) -> bool:
    """Whether a slide's path is an address and no path of this machine."""
    return "://" in path


def name_remote(url: str) -> str:
    """The name of the file behind an address."""
    return PurePosixPath(url.partition("?")[0]).name


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
    files, path, size, key = _look_up(url)
    copy = _cache_folder() / f"{key[:16]}-{name_remote(url)}"
    copy.parent.mkdir(parents=True, exist_ok=True)
    with _alone(copy):
        if not copy.exists():
            with _alone(copy.parent / "cache"):
                _make_room(copy.parent, size, url)
            with write_whole(copy) as partial:
                _reach(url, files.get_file, path, str(partial))
        os.utime(copy)
        return LocalCopy(copy)


def _look_up(url: str) -> tuple[fsspec.AbstractFileSystem, str, int, str]:
    """The file system of an address, the path there, its bytes, and a key that changes with the file."""
    files, path = _reach(url, _open_store, url)
    about = _reach(url, files.info, path)
    if about.get("size") is None or about.get("type") == "directory":
        raise SlideError(f"{url}: no file of a known size; remote slides are single files, copy others here")
    marks = [str(about.get(mark)) for mark in ("size", "ETag", "etag", "mtime", "created", "LastModified")]
    return files, path, int(about["size"]), hashlib.sha256("\n".join([url, *marks]).encode()).hexdigest()


def _reach(url: str, function: Callable[Given, Result], *arguments: Given.args, **options: Given.kwargs) -> Result:
    """What a call to an address's store gives; SlideError in one line where it gives nothing."""
    trouble = Trouble()
    with trouble:
        return function(*arguments, **options)
    # Raised here, what went wrong in a library is neither its cause nor its context: not all of that pickles.
    raise _explain(url, trouble.error)


class Trouble:
    """Takes the error that a block ends with: libraries of stores raise what has no common base."""

    error: Exception

    def __enter__(self) -> None:
        """Nothing is taken yet."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        """Keep an error; what is none, such as Ctrl-C, goes on."""
        if isinstance(error, Exception):
            self.error = error
            return True
        return False


def _explain(url: str, error: Exception) -> SlideError:
    # Over http all is a missing file to fsspec; what it was is the cause.
    root = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ else error
    status, text = _find_status(root), " ".join(str(root).split()) or type(root).__name__
    if isinstance(root, ImportError):
        return SlideError(f"{url}: {text}; pip install 'wsiparse[remote]', or what fsspec needs for such addresses")
    if isinstance(root, ValueError | NotImplementedError):
        return SlideError(f"{url}: {text}; expected an address that fsspec knows")
    if isinstance(root, FileNotFoundError) or status in MISSING:
        return SlideError(f"{url}: no such file; check the address in the manifest or command")
    if isinstance(root, PermissionError) or status in FORBIDDEN or "Credentials" in type(root).__name__:
        return SlideError(f"{url}: may not be read ({text}); give credentials, for S3 AWS_ACCESS_KEY_ID and its like")
    if isinstance(root, OSError) and root.errno in FULL:
        return SlideError(f"{url}: cannot be fetched ({text}); free the disk of {CACHE_VARIABLE} or name another")
    lost = LostSlideError(f"{url}: cannot be reached ({text}); look at the network and at that server")
    lost.__cause__ = OSError(errno.ESTALE, text)
    return lost


def _find_status(error: BaseException) -> int | None:
    """The HTTP status that an error of aiohttp or of botocore tells; None of any other."""
    told = getattr(error, "response", None)
    answer = told.get("ResponseMetadata", {}) if isinstance(told, dict) else {}
    status = getattr(error, "status", answer.get("HTTPStatusCode"))
    return status if isinstance(status, int) else None


def _open_store(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of an address and the path there."""
    if not url.startswith(("http://", "https://")):
        files, path = fsspec.core.url_to_fs(url)
        return files, path
    # Unless told otherwise, aiohttp gives an answer five minutes in all; a large slide takes longer.
    timeout = importlib.import_module("aiohttp").ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    files, path = fsspec.core.url_to_fs(url, client_kwargs={"timeout": timeout})
    return files, path


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

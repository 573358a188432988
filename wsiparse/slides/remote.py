"""Slides behind an address (s3://, https://, …): what an address is, and how the store behind it is reached."""

from __future__ import annotations

import errno
import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ParamSpec, TypeVar

import fsspec

from wsiparse.errors import LostSlideError, SlideError

CACHE_VARIABLE = "WSIPARSE_CACHE"
"""Environment variable: the folder that slides are fetched into, best on a fast local disk."""
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


@dataclass(frozen=True)
class RemoteSlide:
    """A slide of one file in a store that answered."""

    url: str
    size: int
    """Bytes."""
    key: str
    """Changes with the file."""
    files: fsspec.AbstractFileSystem
    path: str
    """Within the store."""

    def copy_to(self, place: Path) -> None:
        """Fetch all of it; errors are those of `find_slide`."""
        _reach(self.url, self.files.get_file, self.path, str(place))


def find_slide(url: str) -> RemoteSlide:
    """The slide behind an address; SlideError where there is none to be had, LostSlideError where that may pass."""
    files, path = _reach(url, _open_store, url)
    about = _reach(url, files.info, path)
    if about.get("size") is None or about.get("type") == "directory":
        raise SlideError(f"{url}: no file of a known size; remote slides are single files, copy others here")
    marks = [str(about.get(mark)) for mark in ("size", "ETag", "etag", "mtime", "created", "LastModified")]
    key = hashlib.sha256("\n".join([url, *marks]).encode()).hexdigest()
    return RemoteSlide(url, int(about["size"]), key, files, path)


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
    if isinstance(root, PermissionError) or status in FORBIDDEN or lacks_credentials(root):
        return SlideError(f"{url}: may not be read ({text}); give credentials, for S3 AWS_ACCESS_KEY_ID and its like")
    if isinstance(root, OSError) and root.errno in FULL:
        return SlideError(f"{url}: cannot be fetched ({text}); free the disk of {CACHE_VARIABLE} or name another")
    lost = LostSlideError(f"{url}: cannot be reached ({text}); look at the network and at that server")
    lost.__cause__ = OSError(errno.ESTALE, text)
    return lost


def lacks_credentials(error: BaseException) -> bool:
    """Whether a store's library was given none, or half of them; each has errors of its own for that."""
    return "Credentials" in type(error).__name__


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

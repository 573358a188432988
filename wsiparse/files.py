"""Files that are either whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import orjson

from wsiparse.errors import DamagedError, OutputError

MARK = "wsiparse"
"""Word in the marked file of a folder that may be replaced."""
UNSETTLED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
"""What file systems answer that cannot say when something is on their disk."""
SETTLED_TOGETHER = 8
"""Files that are waited for at a time."""
UNLINKED = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""What file systems answer that know no second name of a file: FAT of portable disks, shares of Windows."""


@contextmanager
def write_whole(path: Path, within: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path` and rename it there when the block ends well; else remove it.

    Folders on the way are made; where `within` is given, only those below it. Raises OutputError in one line where the
    folder cannot be written, `within` is gone or the disk is full.
    """
    partial = _name_partial(path)
    try:
        _make_folders(path.parent, within)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot write: {error.strerror}; free the disk or choose another output") from error
    finally:
        with suppress(OSError):  # where nothing can be written nothing can be removed, and that is said already
            partial.unlink(missing_ok=True)


def _make_folders(folder: Path, within: Path | None) -> None:
    if within is None:
        folder.mkdir(parents=True, exist_ok=True)
        return
    # Of a share that was unmounted the mount point stays: what is made there is hidden when the share comes back.
    try:
        within.stat()
        for name in folder.relative_to(within).parts:
            within /= name
            within.mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE)) from error


@contextmanager
def write_whole_folder(path: Path, marked: str) -> Iterator[Path]:
    """Yield a new temporary folder beside `path` and rename it there when the block ends well; else remove it.

    A folder at `path` is replaced only if its file `marked` says "wsiparse". Raises OutputError where another stands
    there, or where nothing can be written.
    """
    if path.exists() and not _is_marked(path / marked):
        raise OutputError(f"{path}: holds what wsiparse did not write; remove it or choose another folder")
    partial = _name_partial(path)
    try:
        partial.mkdir(parents=True)
        yield partial
        if path.exists():
            shutil.rmtree(path)
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot write: {error.strerror}; free the disk or choose another output") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_whole_folder(path: Path) -> None:
    """Delete a folder, if it is there, so that whoever reads in it meanwhile finds all of it or nothing."""
    partial = _name_partial(path)
    with suppress(FileNotFoundError):
        path.rename(partial)
    remove(partial)


def _name_partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")


def _is_marked(file: Path) -> bool:
    return file.is_file() and MARK in file.read_text("utf-8", errors="replace")


def name_first(partial: Path, path: Path) -> None:
    """Give a whole file the name `path` too, or in the place of its own; FileExistsError where that is taken."""
    try:
        os.link(partial, path)
    except OSError as error:
        if error.errno not in UNLINKED:
            raise
        path.open("xb").close()
        os.replace(partial, path)


def settle(folder: Path) -> None:
    """Wait until all files of a folder and their names are on the disk, so that a power loss takes none of them.

    Several are waited for at a time, which a disk or a server answers together. Raises OutputError where it, having
    taken them on trust, could not keep them.
    """
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in (*names, ""))
    with ThreadPoolExecutor(SETTLED_TOGETHER, "settle") as threads:
        deque(threads.map(settle_file, paths), maxlen=0)


def settle_file(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; errors as in `settle`."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            settle_open(handle)
        finally:
            os.close(handle)
    except FileNotFoundError:
        return  # another process made it whole, or took it away
    except OSError as error:
        raise OutputError(f"{path}: not kept: {error.strerror}; free the disk or choose another output") from error


def settle_open(descriptor: int) -> None:
    """Wait until what was written to an open file is on the disk; OSError where that could not keep it."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSETTLED:
            raise


def remove_partials(folder: Path) -> None:
    """Delete what writers that were killed left in a folder; call it while nobody else writes there."""
    for partial in folder.glob(".*.partial"):
        remove(partial)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def read_text(path: Path) -> str:
    """Text in UTF-8 with or without a byte order mark, its line ends as they are; ValueError for other encodings."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not in UTF-8; save it as UTF-8 (Excel: as CSV UTF-8)") from error


def write_json(path: Path, value: Any, within: Path | None = None) -> None:
    """Write a JSON document for people and programs alike, as `write_whole` does: indented, keys in the order given."""
    with write_whole(path, within) as partial:
        partial.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n")


def read_json(path: Path) -> Any:
    """Read a document that `write_json` wrote; DamagedError where it is not whole, as after a power loss."""
    try:
        return orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise DamagedError(
            f"{path}: damaged ({error}); bring back a copy, or have it written anew by the command that made it"
        ) from error


def print_line(text: str, stream: TextIO | None) -> None:
    """Print a line at once; where nobody reads any more, or the log's disk is full, the work goes on without."""
    if stream is None:
        return
    try:
        print(text, file=stream, flush=True)
    except OSError:
        silence(stream)


def silence(stream: TextIO) -> None:
    """Let all that is still written to a stream go nowhere, where its reader is gone or its disk full.

    Python would try to write what is left once more as it ends, and take that for the program's own failure.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def find_config(*parts: str) -> Path:
    """A file or folder that ships in `configs/`: inside the package where it was installed, beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "configs"
    return (inside if inside.is_dir() else package.parent / "configs").joinpath(*parts)

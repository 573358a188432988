"""A slide's file before any format is known: is it there, which file is it, what names it for good."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from wsiparse.errors import SlideError

_ENDS_BYTES = 1 << 20


def check_file(path: Path) -> None:
    """Raise SlideError with the plain reason where a file is missing, empty or may not be read."""
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError as error:
        raise SlideError(f"{path}: no such file; check the path in the manifest or command") from error
    except PermissionError as error:
        raise SlideError(f"{path}: may not be read by this user; change its permissions") from error
    except OSError as error:
        raise SlideError(f"{path}: cannot be read ({error.strerror}); check the disk or network share") from error
    if empty:
        raise SlideError(f"{path}: the file is empty, expected a slide; copy it again")


def fingerprint_file(path: Path) -> str:
    """SHA-256 of a file's size, first and last MiB, as hexadecimal text: stable when the file is moved."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(str(size).encode())
        digest.update(file.read(_ENDS_BYTES))
        file.seek(max(size - _ENDS_BYTES, 0))
        digest.update(file.read(_ENDS_BYTES))
    return digest.hexdigest()

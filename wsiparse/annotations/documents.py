"""JSON documents as they lie on disk: plain, gzipped, or several in a zip."""

from __future__ import annotations

import gzip
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import orjson

from wsiparse.errors import ReferenceFileError

MOST_BYTES = 4 << 30
"""Unpacked size above which a document is refused: some four million outlines."""
_EXPECTED = "expected GeoJSON (.geojson, .json, .gz, .zip); export it again"
_PIECE = 16 << 20


def read_documents(path: str | Path) -> Iterator[Any]:
    """The JSON document of a file, or those of a zip in the order of their names; the content decides, not the name.

    Raises ReferenceFileError for a file that is missing, empty, cut short, encrypted, larger than MOST_BYTES or not
    JSON: a zip with one bad member is refused as a whole.
    """
    try:
        with Path(path).open("rb") as file:
            for member, content in _unpack(file):
                yield _parse(content, f"{path}{member}")
    except OSError as error:  # a broken gzip header too
        raise ReferenceFileError(f"{path}: {error.strerror or error}; {_EXPECTED}") from error
    except (EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise ReferenceFileError(f"{path}: cannot be unpacked ({error}); {_EXPECTED}") from error


def _unpack(file: IO[bytes]) -> Iterator[tuple[str, bytearray]]:
    start = file.read(2)
    file.seek(0)
    if start == b"\x1f\x8b":
        with gzip.open(file) as plain:
            yield "", _read_document(plain.read)
    elif start == b"PK":
        yield from _unzip(file)
    else:
        yield "", _read_document(file.read)


def _unzip(file: IO[bytes]) -> Iterator[tuple[str, bytearray]]:
    with zipfile.ZipFile(file) as archive:
        names = [name for name in sorted(archive.namelist()) if _is_document(name)]
        if not names:
            raise zipfile.BadZipFile("no .geojson or .json inside")
        for name in names:
            with archive.open(name) as member:
                yield f"/{name}", _read_document(member.read)


def _read_document(read: Callable[[int], bytes]) -> bytearray:
    """All of a document but the blanks before it: a megabyte of gzip may hold a gigabyte of them."""
    content = bytearray()
    while piece := read(_PIECE):
        content += piece if content else piece.lstrip()
        if len(content) > MOST_BYTES:
            raise RuntimeError(f"more than {MOST_BYTES >> 30} GiB; split it")
    return content


def _is_document(name: str) -> bool:
    return name.lower().endswith((".json", ".geojson")) and not name.startswith("__MACOSX/")


def _parse(content: bytearray, source: str) -> Any:
    if not content:
        raise ReferenceFileError(f"{source}: empty; {_EXPECTED}")
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return _parse_leniently(content, source)


def _parse_leniently(content: bytearray, source: str) -> Any:
    # QuPath has written bare NaN among measurements, and editors on Windows add a byte order mark.
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ReferenceFileError(f"{source}: not JSON ({error}); {_EXPECTED}") from error

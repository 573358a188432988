"""JSON documents as they lie on disk: plain, gzipped, or several in a zip."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from wsiparse.errors import ReferenceFileError

_EXPECTED = "expected GeoJSON (.geojson, .json, .gz, .zip); export it again"


def read_documents(path: str | Path) -> Iterator[Any]:
    """The JSON document of a file, or those of a zip in the order of their names; the content decides, not the name.

    Raises ReferenceFileError for a file that is missing, empty, cut short, encrypted or not JSON: a zip with one bad
    member is refused as a whole.
    """
    try:
        data = Path(path).read_bytes()
        for member, content in _unpack(data):
            yield _parse(content, f"{path}{member}")
    except OSError as error:  # a broken gzip header too
        raise ReferenceFileError(f"{path}: {error.strerror or error}; {_EXPECTED}") from error
    except (EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise ReferenceFileError(f"{path}: cannot be unpacked ({error}); {_EXPECTED}") from error


def _unpack(data: bytes) -> Iterator[tuple[str, bytes]]:
    if data.startswith(b"\x1f\x8b"):
        yield "", gzip.decompress(data)
    elif data.startswith(b"PK"):
        yield from _unzip(data)
    else:
        yield "", data


def _unzip(data: bytes) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [name for name in sorted(archive.namelist()) if _is_document(name)]
        if not names:
            raise zipfile.BadZipFile("no .geojson or .json inside")
        for name in names:
            yield f"/{name}", archive.read(name)


def _is_document(name: str) -> bool:
    return name.lower().endswith((".json", ".geojson")) and not name.startswith("__MACOSX/")


def _parse(content: bytes, source: str) -> Any:
    if not content.strip():
        raise ReferenceFileError(f"{source}: empty; {_EXPECTED}")
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return _parse_leniently(content, source)


def _parse_leniently(content: bytes, source: str) -> Any:
    # QuPath has written bare NaN among measurements, and editors on Windows add a byte order mark.
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ReferenceFileError(f"{source}: not JSON ({error}); {_EXPECTED}") from error

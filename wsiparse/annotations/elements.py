"""XML of strangers, read as a stream: no document type, no entity, and no more in memory than one tag of the file."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple
from xml.parsers import expat

from wsiparse.errors import ReferenceFileError

_CHUNK = 1 << 16
_LONGEST_TAG = 1 << 20
"""Bytes of a tag or comment; the parser must hold one as a whole, and a longer one is no annotation."""
_DEEPEST = 64


class Element(NamedTuple):
    """One tag of the document."""

    name: str
    opens: bool
    attributes: Mapping[str, str]
    """Of an opening tag; a closing one has none."""
    line: int


class _Refusal(ValueError):
    """Something in the document that no annotation file needs."""


def read_elements(path: str | Path, *roots: str) -> Generator[Element]:
    """Tags of an XML file as they come, text left out; memory does not grow with the file.

    Raises ReferenceFileError, with the line, for a file that is missing, empty, cut short or not XML, for another root
    than one of `roots`, and for what could make a small file large or reach other files: a document type or an entity.
    """
    expected = f"expected XML with the root {' or '.join(roots)}; export it again"
    try:
        with Path(path).open("rb") as file:
            yield from _parse(file, roots)
    except OSError as error:
        raise ReferenceFileError(f"{path}: {error.strerror or error}; {expected}") from error
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise ReferenceFileError(f"{path}: {error}; {expected}") from error


def _parse(file: BinaryIO, roots: Collection[str]) -> Iterator[Element]:
    tags = _Tags(roots)
    fed = 0
    while chunk := file.read(_CHUNK):
        fed += len(chunk)
        tags.parser.Parse(chunk, False)
        if fed - tags.parser.CurrentByteIndex > _LONGEST_TAG:
            raise _Refusal(f"a tag or comment of more than {_LONGEST_TAG} bytes in line {tags.line}")
        yield from tags.take()
    tags.parser.Parse(b"", True)
    yield from tags.take()


class _Tags:
    """Collects the tags that the parser has met since they were last taken."""

    def __init__(self, roots: Collection[str]) -> None:
        self.parser = expat.ParserCreate()
        self._roots = roots
        self._depth = 0
        self._met: list[Element] = []
        self.parser.StartElementHandler = self._open
        self.parser.EndElementHandler = self._close
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self.parser.ExternalEntityRefHandler = self._refuse

    @property
    def line(self) -> int:
        """Where the parser is, from 1."""
        return self.parser.CurrentLineNumber

    def take(self) -> list[Element]:
        """The tags met since the last call."""
        met, self._met = self._met, []
        return met

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 1 and name not in self._roots:
            raise _Refusal(f"root {name[:40]!r}")
        if self._depth > _DEEPEST:
            raise _Refusal(f"tags nested deeper than {_DEEPEST} in line {self.line}")
        self._met.append(Element(name, True, attributes, self.line))

    def _close(self, name: str) -> None:
        self._depth -= 1
        self._met.append(Element(name, False, {}, self.line))

    def _refuse(self, *_: object) -> int:
        raise _Refusal(f"a document type or entity in line {self.line}, which no annotation needs and is not read")

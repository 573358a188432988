"""A folder behind an address (s3://, gs://, …): what is there, and how files go there and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import fsspec

from wsiparse.errors import InputError, OutputError
from wsiparse.runs.retry import lose
from wsiparse.slides.remote import Trouble, is_remote, lacks_credentials

Given = ParamSpec("Given")
Result = TypeVar("Result")
FINAL = (PermissionError, FileNotFoundError, ValueError, NotImplementedError)
"""What trying again does not change."""


@dataclass(frozen=True)
class Address:
    """A place that fsspec reaches; every method raises OutputError or ConnectionError in one line where it cannot."""

    url: str
    files: fsspec.AbstractFileSystem
    root: str

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """Contents of those files that are there."""
        paths = {f"{self.root}/{name}": name for name in names}
        found = self._reach(self.files.cat, list(paths), recursive=False, on_error="return") if paths else {}
        errors = [content for content in found.values() if isinstance(content, BaseException)]
        for error in errors:
            if not isinstance(error, FileNotFoundError):
                raise self._complain(error) from error
        return {paths[path]: content for path, content in found.items() if isinstance(content, bytes)}

    def write(self, name: str, content: bytes) -> None:
        """Put a small file there, in the place of one that is."""
        self._reach(self.files.pipe_file, f"{self.root}/{name}", content)

    def create(self, name: str, content: bytes) -> bool:
        """Make a small file unless there is one; whether it was made."""
        try:
            self._reach(self.files.pipe_file, f"{self.root}/{name}", content, mode="create")
        except FileExistsError:
            return False
        return True

    def send(self, folder: Path, names: Sequence[str]) -> None:
        """Copy files of a local folder there, under the same names."""
        if names:
            here, there = [str(folder / name) for name in names], [f"{self.root}/{name}" for name in names]
            try:
                self._reach(self.files.put, here, there)
            except FileNotFoundError as error:
                raise self._complain(error) from error

    def list(self, folder: str) -> list[str]:
        """Names of the files in a folder; none where there is no such folder."""
        self.files.invalidate_cache()
        try:
            paths = self._reach(self.files.ls, f"{self.root}/{folder}", detail=False)
        except FileNotFoundError:
            return []
        return sorted(path.rpartition("/")[2] for path in paths)

    def remove(self, names: Iterable[str]) -> None:
        """Delete files and folders; those that are not there are no trouble."""
        for name in names:
            try:
                self._reach(self.files.rm, f"{self.root}/{name}", recursive=True)
            except FileNotFoundError:
                continue

    def _reach(self, function: Callable[Given, Result], *arguments: Given.args, **options: Given.kwargs) -> Result:
        """What a call gives; files that are missing, or there already, are told by Python's own errors."""
        trouble = Trouble()
        with trouble:
            return function(*arguments, **options)
        error = trouble.error
        if isinstance(error, FileNotFoundError | FileExistsError):
            raise error
        raise self._complain(error) from error

    def _complain(self, error: BaseException) -> Exception:
        text = " ".join(str(error).split())
        if lacks_credentials(error):
            return OutputError(f"{self.url}: {text}; give credentials, for S3 AWS_ACCESS_KEY_ID and its like")
        if isinstance(error, FINAL):
            return OutputError(f"{self.url}: cannot be used: {text}; check the address and your rights there")
        return lose(f"{self.url}: cannot be reached: {text}; the same command continues where this one ended")


def find_local(output: str) -> Path | None:
    """The folder that a path or a file:// address names; None where it lies behind another address."""
    if output.startswith("file://"):
        return Path(output.removeprefix("file://"))
    return None if is_remote(output) else Path(output)


def open_address(url: str) -> Address:
    """The folder behind an address; InputError where fsspec, or what it needs for this kind, is missing."""
    try:
        files, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InputError(f"{url}: {error}; expected a folder or an address that fsspec reaches") from error
    return Address(url.rstrip("/"), files, root.rstrip("/"))

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from wsiparse.errors import DamagedError, OutputError
from wsiparse.files import find_config, read_json, read_text, remove_partials, write_json, write_whole_folder
from wsiparse.runs.retry import is_passing


def write(path: Path, text: str = "wsiparse") -> None:
    with write_whole_folder(path, "mark") as partial:
        assert not (path / "new").exists()
        (partial / "mark").write_text(text)
        (partial / "new").write_text(text)


def write_half(path: Path) -> None:
    with write_whole_folder(path, "mark") as partial:
        (partial / "half").touch()
        raise ZeroDivisionError


def test_a_folder_appears_when_all_is_written(tmp_path: Path) -> None:
    write(tmp_path / "deep" / "a")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a"]
    assert (tmp_path / "deep" / "a" / "new").read_text() == "wsiparse"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_text_is_read_as_it_stands(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a").write_bytes("slide\r\nMüller\n".encode(encoding))
    assert read_text(tmp_path / "a") == "slide\r\nMüller\n"


@pytest.mark.parametrize(("encoding", "line"), [("cp1252", 2), ("utf-16", 1)])
def test_text_in_another_encoding_is_refused_by_its_line(tmp_path: Path, encoding: str, line: int) -> None:
    (tmp_path / "a").write_bytes("slide\r\nMüller\n".encode(encoding))
    with pytest.raises(ValueError, match=f"line {line} is not in UTF-8; save it as UTF-8"):
        read_text(tmp_path / "a")


def test_what_was_written_before_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mark").write_text("by wsiparse 0.1")
    (tmp_path / "a" / "old").touch()
    write(tmp_path / "a")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["mark", "new"]


@pytest.mark.parametrize("mark", [None, "another program"])
def test_what_others_wrote_stays(tmp_path: Path, mark: str | None) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "theirs").touch()
    if mark:
        (tmp_path / "a" / "mark").write_text(mark)
    with pytest.raises(OutputError, match="did not write"):
        write(tmp_path / "a")
    assert (tmp_path / "a" / "theirs").exists()


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    write(tmp_path / "a", "wsiparse, the first")
    with pytest.raises(ZeroDivisionError):
        write_half(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / "new").read_text() == "wsiparse, the first"


def test_a_place_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write") as caught:
        write(tmp_path / "file" / "a")
    assert "\n" not in str(caught.value)


def test_a_place_that_may_only_be_read_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OutputError, match="cannot write: Read-only file system"):
        write_json(tmp_path / "a.json", {})


def test_folders_are_made_below_one_that_is_there_alone(tmp_path: Path) -> None:
    write_json(tmp_path / "run" / "a" / "b.json", {})
    write_json(tmp_path / "run" / "c" / "d" / "e.json", {}, within=tmp_path / "run")
    assert sorted(path.name for path in tmp_path.rglob("*.json")) == ["b.json", "e.json"]


@pytest.mark.parametrize("name", ["a.json", "deep/a.json"])
def test_a_folder_that_is_gone_is_not_made_anew(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="Stale file handle") as caught:
        write_json(tmp_path / "gone" / name, {}, within=tmp_path / "gone")
    assert is_passing(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b'{"half": '])
def test_a_document_that_is_not_whole_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DamagedError, match=r"a\.json: damaged .* bring back a copy") as caught:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


def test_leftovers_of_killed_writers_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".a.0.partial").mkdir()
    (tmp_path / ".a.0.partial" / "half").touch()
    (tmp_path / ".b.0.partial").touch()
    (tmp_path / "c").touch()
    remove_partials(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_what_ships_is_found() -> None:
    assert find_config("validity", "biomedparse-v1.json").is_file()

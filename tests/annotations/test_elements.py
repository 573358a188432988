"""Hostile and broken XML: refused in one line, and never held in memory as a whole."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from wsiparse.annotations.elements import Element, read_elements
from wsiparse.errors import ReferenceFileError

BOMB = """<?xml version="1.0"?>
<!DOCTYPE bomb [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;">]>
<root>&c;</root>"""
OUTSIDE = '<!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/hostname">]><root a="1">&f;</root>'


def read(path: Path, content: str | bytes) -> list[Element]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_elements(path, "root", "other"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.xml"


def test_tags_come_with_their_attributes_and_lines(path: Path) -> None:
    elements = read(path, '<?xml version="1.0"?>\n<root>text\n<a x="&lt;&#181;m"/></root>\n')
    assert elements == [
        Element("root", True, {}, 2),
        Element("a", True, {"x": "<µm"}, 3),
        Element("a", False, {}, 3),
        Element("root", False, {}, 3),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "windows-1252"])
def test_files_of_other_encodings_are_read(path: Path, encoding: str) -> None:
    declared = "utf-8" if encoding == "utf-8-sig" else encoding
    text = f'<?xml version="1.0" encoding="{declared}"?><root name="Nécrose"/>'
    assert read(path, text.encode(encoding))[0].attributes == {"name": "Nécrose"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB, "document type or entity in line 2"),
        (OUTSIDE, "document type or entity"),
        ('<!DOCTYPE root SYSTEM "http://127.0.0.1/root.dtd"><root/>', "document type or entity"),
        ("", "no element found"),
        ("{}", "not well-formed"),
        ("<root><a>", "no element found"),
        ('<root><a x="1', "unclosed token"),
        ("<root></a>", "mismatched tag"),
        ("<root/><root/>", "junk after document element"),
        ("<html><body/></html>", "root 'html'"),
        (f"<{'h' * 500}/>", "root 'hhhhhhhh"),
        ("<root>&nbsp;</root>", "undefined entity"),
        ("<root>" + "<a>" * 100, "nested deeper than 64"),
        ('<?xml version="1.0" encoding="utf-7"?><root/>', "encoding"),
        ('<?xml version="1.0" encoding="no-such-thing"?><root/>', "encoding"),
        (b"<root name='\xff\xfe\xfd'/>", "not well-formed"),
    ],
    ids=lambda value: str(value)[:24] if isinstance(value, str) else None,
)
def test_what_is_broken_or_hostile_is_refused_in_one_line(path: Path, content: str | bytes, reason: str) -> None:
    with pytest.raises(ReferenceFileError, match=reason) as caught:
        read(path, content)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.endswith("expected XML with the root root or other; export it again")
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize("content", ['<root><a x="1"\0/>', "<root>\0</root>"])
def test_binary_rubbish_is_refused(path: Path, content: str) -> None:
    with pytest.raises(ReferenceFileError):
        read(path, content)


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path / "none.xml", tmp_path):
        with pytest.raises(ReferenceFileError, match=r"expected XML"):
            list(read_elements(place, "root"))


@pytest.mark.parametrize("before", ["<root>", "<root/>", ""], ids=["inside", "after", "before"])
def test_endless_blanks_do_not_fill_the_memory(path: Path, before: str) -> None:
    with path.open("wb") as file:
        file.write(before.encode())
        for _ in range(32):
            file.write(b" " * (1 << 20))
        file.write({"<root>": b"</root>", "<root/>": b"", "": b"<root/>"}[before])
    tracemalloc.start()
    try:
        assert len(list(read_elements(path, "root"))) == 2
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize("opening", ["<root ", '<root a="', "<!-- ", "<?x "])
def test_an_endless_tag_is_refused_before_it_fills_the_memory(path: Path, opening: str) -> None:
    path.write_bytes(opening.encode() + b" " * (64 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(ReferenceFileError, match="more than 1048576 bytes"):
            list(read_elements(path, "root"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20

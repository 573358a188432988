"""A laboratory's class names: mapped or refused, never lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import shapely

from wsiparse.annotations.annotation import Annotation
from wsiparse.annotations.mapping import load_mapping
from wsiparse.errors import InputError
from wsiparse.ontology import Ontology, Target

ONTOLOGY = Ontology(
    (
        Target("gland", "glandular structure", "tissue", (0, 255, 0), 1.0, synonyms=("crypt",)),
        Target("tumor", "tumor tissue", "tissue", (255, 0, 0), 1.0),
    )
)
TABLE = {"Drüse, normal": "gland", "Krypte": "Crypt", "T1": "tumor tissue", "Falte": "Ignore*", "Fett": "", "": "tumor"}


def save(path: Path, table: Mapping[str, object], name: str = "classes.toml") -> Path:
    file = path / name
    lines = [f"{json.dumps(key, ensure_ascii=False)} = {json.dumps(value)}" for key, value in table.items()]
    text = json.dumps(table) if name.endswith("json") else "\n".join(["[classes]", *lines])
    file.write_text(text, encoding="utf-8")
    return file


def annotate(*targets: str) -> list[Annotation]:
    return [Annotation(target, shapely.box(n, 0, n + 1, 1), 1.0) for n, target in enumerate(targets)]


@pytest.mark.parametrize("name", ["classes.toml", "classes.json"])
def test_targets_are_found_by_name_prompt_or_synonym(tmp_path: Path, name: str) -> None:
    assert load_mapping(save(tmp_path, TABLE, name), ONTOLOGY) == {
        "Drüse, normal": "gland",
        "Krypte": "gland",
        "T1": "tumor",
        "Falte": "Ignore*",
        "Fett": "",
        "": "tumor",
    }


@pytest.mark.parametrize("name", ["classes.toml", "classes.json"])
def test_a_file_that_windows_saved_is_read(tmp_path: Path, name: str) -> None:
    file = save(tmp_path, {"T1": "tumor"}, name)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load_mapping(file, ONTOLOGY) == {"T1": "tumor"}


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"a": "glant"}, "class 'a': unknown target 'glant'; nearest: gland"),
        ({"a": 3}, "class 'a' is 3"),
        ({"a": "gland", " a": "tumor"}, "differ only in the blanks"),
        ({}, "no classes"),
    ],
)
def test_mappings_that_say_nothing_or_nonsense_are_refused(
    tmp_path: Path, table: dict[str, object], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        load_mapping(save(tmp_path, table), ONTOLOGY)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.toml", "[classes\n"), ("a.json", "{"), ("a.json", "[1, 2]"), ("a.json", "[" * 100_000), ("a.toml", "\udcff")],
)
def test_files_that_cannot_be_read_are_refused(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match="expected a TOML table"):
        load_mapping(path, ONTOLOGY)


@pytest.mark.parametrize("name", ["classes.toml", "classes.json"])
def test_a_class_that_stands_there_twice_is_refused(tmp_path: Path, name: str) -> None:
    toml, document = '"T1" = "gland"\n"T1" = "tumor"', '{"classes": {"T1": "gland", "T1": "tumor"}}'
    (tmp_path / name).write_text(document if name.endswith("json") else toml)
    with pytest.raises(InputError, match="expected a TOML table"):
        load_mapping(tmp_path / name, ONTOLOGY)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_mapping(tmp_path / "none.toml", ONTOLOGY)

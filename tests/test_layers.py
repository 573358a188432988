"""Imports go down only: a module imports the words and the stages above it, never one below."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "wsiparse"
WORDS = ["compiled", "errors", "files", "geometry", "kinds", "ontology"]
STAGES = ["slides", "tiles", "models", "maps", "annotations", "evaluation", "runs", "training", "views"]
TOP = ["commands", "cli", "__init__", "__main__"]
ALLOWED = {
    "torch": {"models", "training"},
    "numba": {"compiled.py"},
    "pydantic": {"runs"},
    "dask": {"runs/cluster.py", "runs/connect.py"},
    "distributed": {"runs/cluster.py", "runs/connect.py"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def floor(part: str) -> int:
    order = [*STAGES, *TOP]
    return -1 if part in WORDS else order.index(part)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_above_its_stage(path: Path) -> None:
    here = path.relative_to(PACKAGE).with_suffix("").parts[0]
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "wsiparse" and len(parts) > 1:
            assert floor(parts[1]) <= floor(here), f"{path.name} in {here} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_live_in_one_place(path: Path) -> None:
    place = path.relative_to(PACKAGE).as_posix()
    for name in imported(path):
        homes = ALLOWED.get(name.split(".")[0])
        assert homes is None or place in homes or place.split("/")[0] in homes, f"{place} imports {name}"


def test_there_is_one_broad_except_in_the_package() -> None:
    handlers = [
        (path.name, node)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}))
    ]
    assert len(handlers) <= 1, [name for name, _ in handlers]

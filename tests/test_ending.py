from __future__ import annotations

import pytest
from rich.table import Table

from wsiparse.commands.ending import console

PATHS = ["/x/[old]/e.svs", "z[/e].svs", "/:heart:/a.svs"]


@pytest.mark.parametrize("path", PATHS)
def test_paths_are_printed_as_they_are(capfd: pytest.CaptureFixture[str], path: str) -> None:
    console.print(f"results: {path}")
    assert capfd.readouterr().out == f"results: {path}\n"
    table = Table(path)
    table.add_row(path)
    console.print(table)
    assert capfd.readouterr().out.count(path) == 2

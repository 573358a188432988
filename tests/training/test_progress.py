from __future__ import annotations

import json
from pathlib import Path

import pytest

from wsiparse.training.progress import open_log


def test_what_has_no_value_is_null_in_the_file_and_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_log(tmp_path, 5) as log:
        log.write(1, {"gland": 0.5, "polyp": None})
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"step": 1, "gland": 0.5, "polyp": None}
    assert capsys.readouterr().out == "step      1  gland 0.5\n"


def test_lines_after_a_checkpoint_and_lines_cut_short_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n[]\n{"step": null}\n\0\0\xff\n{"step": 1, "lo')
    with open_log(tmp_path, 5) as log:
        log.rewind(1)
    assert path.read_text() == '{"step": 1}\n'

from __future__ import annotations

from pathlib import Path

import pytest

from wsiparse.runs.manifest import ManifestRow, write_manifest
from wsiparse.runs.run import Run, State
from wsiparse.views.status import describe_status


def test_a_slide_that_is_tried_again_while_its_state_is_told_is_pending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest(tmp_path / "slides.csv", [ManifestRow(id="a", slide=str(tmp_path / "a.svs"))])
    failed = tmp_path / "a/failed.json"
    failed.parent.mkdir()
    ask = Run.state

    def ask_as_the_file_goes(run: Run, slide_id: str) -> State:
        state = ask(run, slide_id)
        failed.unlink(missing_ok=True)
        return state

    failed.write_text('{"reason": "x", "message": "y"}')
    monkeypatch.setattr(Run, "state", ask_as_the_file_goes)
    assert describe_status(Run(tmp_path)) == {"a": {"state": State.PENDING}}

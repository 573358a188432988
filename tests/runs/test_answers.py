"""Models of one's own that answer otherwise than they are to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.runs.conftest import TONE, run
from tests.tiny import ToneModel
from wsiparse.runs.run import open_run


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param(lambda maps: maps / np.float32(255), "answered float32 (4, 2, 84, 84)", id="fractions"),
        pytest.param(lambda maps: maps > 127, "answered bool (4, 2, 84, 84)", id="masks"),
        pytest.param(lambda maps: maps[:, :1], "answered uint8 (4, 1, 84, 84)", id="one target"),
        pytest.param(lambda maps: maps[..., :64, :64], "answered uint8 (4, 2, 64, 64)", id="smaller tiles"),
        pytest.param(torch.from_numpy, "answered torch.uint8 (4, 2, 84, 84)", id="tensor"),
        pytest.param(lambda maps: None, "answered NoneType ()", id="nothing"),
    ],
)
def test_an_answer_of_another_kind_is_refused(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any], found: str
) -> None:
    answer = ToneModel.predict
    monkeypatch.setattr(ToneModel, "predict", lambda *asked: change(answer(*asked)))
    assert run(slides / "s0.svs", "-o", tmp_path / "out", *TONE, "--targets", "dark,light") == 2
    failure = open_run(tmp_path / "out").failure("s0")
    assert failure["reason"] == "model_invalid"
    assert found in failure["message"]
    assert "expected uint8 (4, 2, 84, 84)" in failure["message"]

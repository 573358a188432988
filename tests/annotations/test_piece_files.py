from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.maps.drawing import draw_maps
from wsiparse.annotations.piece_files import read_pieces, write_pieces
from wsiparse.annotations.polygons import trace_block
from wsiparse.errors import OutputError
from wsiparse.geometry import Grid, Region


@pytest.mark.parametrize("scored", [True, False])
def test_pieces_come_back_as_they_were(tmp_path: Path, scored: bool) -> None:
    scores = draw_maps(Grid(90, 70, 0.5), 2)
    labels = np.where(scores.max(0) > 150, scores.argmax(0) + 1, 0)
    pieces = trace_block(labels, scores if scored else None, Region(900, 700, 90, 70))
    assert len(pieces) > 1
    write_pieces(tmp_path / "new" / "0.0.safetensors", pieces, within=tmp_path)
    back = read_pieces(tmp_path / "new" / "0.0.safetensors")
    assert back.region == pieces.region
    np.testing.assert_equal(vars(back.outlines), vars(pieces.outlines))
    for name in ("codes", "pixels", "scores", "runs"):
        np.testing.assert_equal(getattr(back, name), getattr(pieces, name))
    (tmp_path / "beside").touch()
    written = tmp_path / "new" / "0.0.safetensors"
    assert written.stat().st_mode == (tmp_path / "beside").stat().st_mode  # a colleague may go on with the run


def test_a_damaged_file_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "0.0.safetensors").write_bytes(b"no pieces")
    with pytest.raises(OutputError, match="damaged"):
        read_pieces(tmp_path / "0.0.safetensors")

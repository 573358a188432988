"""Pieces kept on disk between the process that traces a block and the one that joins the slide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from wsiparse.annotations.outlines import Outlines
from wsiparse.annotations.pieces import Pieces
from wsiparse.errors import OutputError
from wsiparse.files import write_whole
from wsiparse.geometry import Region


def write_pieces(path: Path, pieces: Pieces, within: Path) -> None:
    """Write a block's pieces, whole or not at all, to a path below a folder that is there."""
    region, outlines = pieces.region, pieces.outlines
    arrays = {
        "region": np.array([region.x, region.y, region.width, region.height]),
        "points": outlines.points,
        "rings": outlines.rings,
        "polygons": outlines.polygons,
        "codes": pieces.codes,
        "pixels": pieces.pixels,
        "runs": pieces.runs,
        **({} if pieces.scores is None else {"scores": pieces.scores}),
    }
    with write_whole(path, within) as partial:
        # The library's own file would be the owner's alone, while a colleague may go on with the run.
        partial.write_bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def read_pieces(path: Path) -> Pieces:
    """The pieces that `write_pieces` wrote; OutputError where the file is damaged."""
    try:
        arrays = load_file(path)
    except SafetensorError as error:
        raise OutputError(f"{path}: damaged ({error}); remove it and run the slide again") from error
    outlines = Outlines(arrays["points"], arrays["rings"], arrays["polygons"])
    region = Region(*arrays["region"].tolist())
    return Pieces(region, outlines, arrays["codes"], arrays["pixels"], arrays.get("scores"), arrays["runs"])

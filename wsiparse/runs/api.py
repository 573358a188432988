"""The Python face: the two calls that the package offers at its top."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsiparse.errors import InputError
from wsiparse.runs.address import find_local
from wsiparse.runs.config import load_config
from wsiparse.runs.manifest import list_slides
from wsiparse.runs.parse import parse_run
from wsiparse.runs.pipeline import BlockRecord
from wsiparse.runs.results import Results
from wsiparse.runs.run import Start
from wsiparse.runs.run import open_run as _open_folder


def run(
    slides: str | Path | Sequence[str | Path],
    output: str | Path,
    overwrite: bool = False,
    retry_failed: bool = False,
    **settings: Any,
) -> Results:
    """Parse slides (files, folders or manifests) into a folder; `settings` are the fields of `RunConfig`.

    Continues a run that the folder holds; slides that failed are only tried again with `retry_failed`. Raises
    InputError where the request itself is wrong; slides that fail are recorded, see `Results.run`.
    """
    folder, sources = _find_folder(output), [slides] if isinstance(slides, str | Path) else slides
    rows = list_slides([str(source) for source in sources])
    return Results(parse_run(rows, folder, load_config(None, settings), _ignore, Start(overwrite, retry_failed)))


def open_run(output: str | Path) -> Results:
    """The results of a run that was made before."""
    return Results(_open_folder(_find_folder(output)))


def _find_folder(output: str | Path) -> Path:
    folder = find_local(str(output))
    if folder is None:
        raise InputError(
            f"{output}: expected a folder, whose maps and outlines can be read; `wsiparse run -o {output}` hands "
            "results over to an address"
        )
    return folder


def _ignore(event: str, slide: str, record: BlockRecord | None) -> None:
    """A script watches nothing."""

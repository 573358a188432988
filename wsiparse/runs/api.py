"""The Python face: the two calls that the package offers at its top."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsiparse.runs.config import load_config
from wsiparse.runs.manifest import list_slides
from wsiparse.runs.parse import parse_run
from wsiparse.runs.pipeline import BlockRecord
from wsiparse.runs.results import Results
from wsiparse.runs.run import Start
from wsiparse.runs.run import open_run as _open_folder


def run(
    slides: str | Path | Sequence[str | Path], output: str | Path, overwrite: bool = False, **settings: Any
) -> Results:
    """Parse slides (files, folders or manifests) into a folder; `settings` are the fields of `RunConfig`.

    Continues a run that the folder holds. Raises InputError where the request itself is wrong; slides that fail are
    recorded, see `Results.run`.
    """
    sources = [slides] if isinstance(slides, str | Path) else slides
    rows = list_slides([str(source) for source in sources])
    return Results(parse_run(rows, Path(output), load_config(None, settings), _ignore, Start(overwrite)))


def open_run(output: str | Path) -> Results:
    """The results of a run that was made before."""
    return Results(_open_folder(output))


def _ignore(event: str, slide: str, record: BlockRecord | None) -> None:
    """A script watches nothing."""

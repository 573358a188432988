"""What people are told of pixels that could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.run import FINISHED, Run


def list_unreadable(run: Run, rows: Sequence[ManifestRow]) -> Iterator[tuple[str, int]]:
    """Finished slides with pixels that were taken as white, and how many."""
    for row in rows:
        if run.state(row.id) in FINISHED and (count := run.summary(row.id)["unreadable_pixels"]):
            yield row.id, count


def warn_unreadable(slide: str, count: int) -> str:
    """The same of one slide as a line."""
    return f"{slide}: {count} pixels could not be read and were taken as white"

"""summary.csv: what a run found, one row a slide and target, for a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from wsiparse.files import write_whole
from wsiparse.runs.run import FINISHED, Run, State

FOUND = ("target", "objects", "area_um2", "mean_probability", "selected", "refused", "refused_tiles", "p_value")
COLUMNS = ("slide", "state", "reason", *FOUND, "mpp", "tissue_share", "unreadable_pixels")


def write_summary(run: Run) -> dict[str, State]:
    """Write summary.csv from the files of the slides, and return the states that it tells.

    Slides that are not done have one row without a target. Shards that end at the same moment may each write it:
    whoever sees a slide change meanwhile writes again.
    """
    written: dict[str, State] = {}
    while (states := {row.id: run.state(row.id) for row in run.rows}) != written:
        _write_rows(run, states)
        written = states
    return written


def _write_rows(run: Run, states: dict[str, State]) -> None:
    path = run.path / "summary.csv"
    with write_whole(path, within=run.path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for slide_id, state in states.items():
            writer.writerows(_describe(run, slide_id, state))


def _describe(run: Run, slide_id: str, state: State) -> Iterator[dict[str, Any]]:
    row: dict[str, Any] = {"slide": slide_id, "state": state}
    if state is State.FAILED:
        yield {**row, "reason": run.failure(slide_id)["reason"]}
    elif state in FINISHED:
        summary = run.summary(slide_id)
        yield from ({**row, **summary, **entry, "slide": slide_id} for entry in summary["targets"] or [{}])
    else:
        yield row

"""Where a run stands, from its files alone: once, again and again, or for programs."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from wsiparse.runs.lock import read_holder
from wsiparse.runs.run import Run, State
from wsiparse.views.refusals import list_refusals
from wsiparse.views.unreadable import list_unreadable, warn_unreadable

WATCH_SECONDS = 2.0


def describe_status(run: Run) -> dict[str, dict[str, Any]]:
    """State of every slide by its id; why it failed, findings that were refused, pixels that could not be read."""
    rows = run.rows
    status = {row.id: _describe_slide(run, row.id) for row in rows}
    for name, count in list_unreadable(run, rows):
        status[name]["unreadable_pixels"] = count
    return status


def show_status(console: Console, run: Run, as_json: bool) -> int:
    """Print where the run stands; returns how many slides failed."""
    status = describe_status(run)
    if as_json:
        console.print_json(json.dumps(status))
    else:
        console.print(_draw_status(run, status))
    return _count(status)[State.FAILED]


def watch_status(console: Console, look: Callable[[], Run]) -> int:
    """Show where the run that `look` gives stands until nothing is left to do; returns how many slides failed."""
    with Live(console=console, auto_refresh=False) as live:
        while True:
            run = look()
            status = describe_status(run)
            live.update(_draw_status(run, status), refresh=True)
            if not _count(status)[State.PENDING]:
                return _count(status)[State.FAILED]
            time.sleep(WATCH_SECONDS)


def _describe_slide(run: Run, slide_id: str) -> dict[str, Any]:
    state = run.state(slide_id)
    try:
        return {"state": state, **_explain(run, slide_id, state)}
    except FileNotFoundError:  # a run that tries it again has taken the file away meanwhile
        return {"state": State.PENDING}


def _explain(run: Run, slide_id: str, state: State) -> dict[str, Any]:
    if state is State.FAILED:
        failure = run.failure(slide_id)
        return {"reason": failure["reason"], "message": failure["message"]}
    refused = list(list_refusals(run.summary(slide_id))) if state is State.DONE else []
    return {"refused": refused} if refused else {}


def _count(status: dict[str, dict[str, Any]]) -> Counter[State]:
    return Counter(entry["state"] for entry in status.values())


def _draw_status(run: Run, status: dict[str, dict[str, Any]]) -> RenderableType:
    counts, holder = _count(status), read_holder(run.path)
    lines = [Text(", ".join(f"{counts[state]} {state}" for state in State))]
    if holder:
        lines.append(Text(f"running: host {holder.host}, process {holder.pid}, since {holder.since}"))
    lines += [
        Text(f"failed {name} ({entry['reason']}): {entry['message']}", style="red")
        for name, entry in status.items()
        if entry["state"] is State.FAILED
    ]
    lines += [
        Text(f"refused {name}: {refusal}", style="yellow")
        for name, entry in status.items()
        for refusal in entry.get("refused", ())
    ]
    lines += [
        Text(warn_unreadable(name, entry["unreadable_pixels"]), style="yellow")
        for name, entry in status.items()
        if "unreadable_pixels" in entry
    ]
    return Group(*lines)

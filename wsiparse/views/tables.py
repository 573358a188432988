"""Tables for a terminal: what a run found, what a slide is, and which models ship."""

from __future__ import annotations

import time
from collections.abc import Container, Sequence

from rich.console import Console
from rich.table import Table

from wsiparse.geometry import Region
from wsiparse.models.load import ModelSpec, find_licence, list_models, load_model
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.planning import THUMBNAIL_MPP
from wsiparse.runs.run import Run, State
from wsiparse.slides.open import open_slide
from wsiparse.slides.slide import Reader
from wsiparse.slides.thumbnail import read_thumbnail
from wsiparse.slides.tissue import find_tissue
from wsiparse.views.refusals import list_refusals
from wsiparse.views.unreadable import list_unreadable, warn_unreadable


def make_table(*columns: str) -> Table:
    """An empty table in the house's style; names that end in a blank are numbers and stand right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.strip(), justify="right" if column.endswith(" ") else "left", overflow="fold")
    return table


def show_run(console: Console, run: Run, rows: Sequence[ManifestRow], tried: Container[str]) -> int:
    """What a run found on each slide, and which failed, now or before the command that tried some; how many did."""
    table = make_table("slide", "state", "target", "objects ", "area mm² ", "mean p ", "seconds ", "model waited ")
    states = {row.id: run.state(row.id) for row in rows}
    for slide_id, state in states.items():
        _add_slide(table, run, slide_id, state)
    console.print(table)
    failed = [name for name, state in states.items() if state is State.FAILED]
    _show_failures(console, run, failed, tried)
    for slide_id in (name for name, state in states.items() if state is State.EMPTY):
        console.print(f"empty {slide_id}: no tissue found, expected some that is stained; --no-tissue parses all of it")
    for slide_id in (name for name, state in states.items() if state is State.DONE):
        for refusal in list_refusals(run.summary(slide_id)):
            console.print(f"refused {slide_id}: {refusal}", style="yellow")
    for unread in list_unreadable(run, rows):
        console.print(warn_unreadable(*unread), style="yellow")
    model = run.record["model"]
    show_licence(console, model["name"], model.get("licence", ""))
    console.print(f"results: {run.path}")
    return len(failed)


def _show_failures(console: Console, run: Run, failed: Sequence[str], tried: Container[str]) -> None:
    for slide_id in failed:
        when = "" if slide_id in tried else " earlier"
        console.print(f"failed{when} {slide_id}: {run.failure(slide_id)['message']}", style="red")
    if left := sum(slide_id not in tried for slide_id in failed):
        console.print(f"not tried again: {left} that failed earlier; --retry-failed tries them", style="red")


def _add_slide(table: Table, run: Run, slide_id: str, state: State) -> None:
    if state is not State.DONE:
        table.add_row(slide_id, state)
        return
    summary = run.summary(slide_id)
    seconds, waited = f"{sum(summary['seconds'].values()):.1f}", summary["model_wait_share"]
    spent = (seconds, "" if waited is None else f"{waited:.0%}")
    for n, entry in enumerate(summary["targets"]):
        probability = "" if entry["mean_probability"] is None else f"{entry['mean_probability']:.2f}"
        cells = (entry["target"], str(entry["objects"]), f"{entry['area_um2'] / 1e6:.4f}", probability)
        table.add_row(slide_id if n == 0 else "", state if n == 0 else "", *cells, *(spent if n == 0 else ()))


def show_slide(console: Console, path: str, mpp: float | None) -> None:
    """What a slide is, and how fast its pixels can be read here."""
    reader = open_slide(path, mpp=mpp)
    slide, tissue = reader.slide, find_tissue(*read_thumbnail(reader, THUMBNAIL_MPP))
    speed, pixels = _time_reading(reader)
    facts = {
        "file": slide.path,
        "vendor": slide.vendor,
        "codec": slide.codec or "unknown",
        "size": f"{slide.grid.width} × {slide.grid.height} px, {slide.grid.area_mm2:.1f} mm²",
        "mpp": f"{slide.mpp:g} µm (from {slide.mpp_source})",
        "levels": ", ".join(f"{level.width} × {level.height} at {level.mpp:g} µm" for level in slide.levels),
        "bounds": str(slide.bounds) if slide.bounds else "none",
        "tissue": f"{tissue.share:.0%} of the slide, pen marks {tissue.pen_share:.1%}",
        "reading": f"{speed:.0f} MP/s over {pixels / 1e6:.1f} MP, {reader.unreadable_pixels} pixels unreadable",
    }
    table = make_table("", "")
    for name, value in facts.items():
        table.add_row(name, value)
    table.show_header = False
    console.print(table)


def _time_reading(reader: Reader) -> tuple[float, int]:
    grid = reader.slide.grid
    side = Region(grid.width // 4, grid.height // 4, min(grid.width, 4096), min(grid.height, 4096)).intersect(
        grid.region
    )
    start = time.perf_counter()
    reader.read_region(side, 0)
    return side.area / 1e6 / (time.perf_counter() - start), side.area


def show_licence(console: Console, model: str, licence: str) -> None:
    """On one line, under what licence a model's weights stand, where they say so."""
    if licence:
        console.print(f"licence of {model}: {licence}", soft_wrap=True, markup=False, highlight=False)


def show_models(console: Console) -> None:
    """The shipped models, what they find, and their licences."""
    table = make_table("model", "target", "prompt", "mpp ", "digest")
    for name in list_models():
        model = load_model(ModelSpec(name, "cpu"))
        for n, target in enumerate(model.targets):
            first = (name, model.digest[:12]) if n == 0 else ("", "")
            table.add_row(first[0], target.name, target.prompt, f"{target.mpp:g}", first[1])
    console.print(table)
    for name in list_models():
        show_licence(console, name, find_licence(load_model(ModelSpec(name, "cpu"))))

"""report.html: a run at a glance in one file that needs nothing else, for a screen or a printer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from wsiparse.errors import InputError, OutputError
from wsiparse.evaluation.extremes import parse_extremes
from wsiparse.files import read_json
from wsiparse.runs.references import References
from wsiparse.runs.run import FINISHED, Run, State
from wsiparse.views.charts import draw_bars
from wsiparse.views.evaluated import show_evaluation, show_readers
from wsiparse.views.gallery import draw_figures, open_gallery
from wsiparse.views.markup import (
    Column,
    Html,
    escape,
    make_section,
    make_swatch,
    make_table,
    show_number,
    write_page,
)
from wsiparse.views.priors import draw_priors, measure_priors
from wsiparse.views.tiles import draw_extremes
from wsiparse.views.unreadable import list_unreadable

PICTURES = 50
"""Slides that are shown as pictures; some 150 kB each."""
Numbers = Mapping[str, Any]
_EXPLAINED = Html(
    "<p>Mean p: mean probability of what was found. Validity p: how usual such findings are where the target is; those "
    "that are too unusual are refused. Dice: agreement with the reference.</p>"
)


@dataclass(frozen=True)
class _Facts:
    """What the files of a run say."""

    run: Run

    @cached_property
    def record(self) -> Numbers:
        return self.run.record

    @cached_property
    def states(self) -> dict[str, State]:
        return {row.id: self.run.state(row.id) for row in self.run.rows}

    @cached_property
    def summaries(self) -> dict[str, Numbers]:
        return {name: self.run.summary(name) for name, state in self.states.items() if state in FINISHED}

    @cached_property
    def evaluation(self) -> Numbers | None:
        path = self.run.path / "evaluation.json"
        return dict(read_json(path)) if path.exists() else None

    @cached_property
    def agreement(self) -> Sequence[Numbers]:
        """Targets that several readers drew."""
        path = self.run.path / "agreement.json"
        return list(read_json(path)["targets"]) if path.exists() else []

    @property
    def colors(self) -> dict[str, Sequence[int]]:
        return {entry["name"]: entry["color"] for entry in self.record["targets"]}

    @cached_property
    def scores(self) -> dict[tuple[str, str], Numbers]:
        """Measures by slide and target."""
        slides = self.evaluation["slides"] if self.evaluation else []
        return {(entry["slide"], entry["target"]): entry for entry in slides}


def write_report(run: Run, pictures: int = PICTURES) -> Path:
    """Write OUT/report.html and return its path; with measures where the run was evaluated, without where not."""
    if pictures < 0:
        raise InputError(f"{pictures} pictures: expected 0 or more")
    facts = _Facts(run)
    counts = ", ".join(f"{list(facts.states.values()).count(state)} {state}" for state in State)
    path = run.path / "report.html"
    subtitle = f"{len(facts.states)} slides: {counts} · model {facts.record['model']['name']}"
    write_page(path, f"wsiparse: {run.path.resolve().name}", subtitle, _make_sections(facts, pictures))
    return path


def _make_sections(facts: _Facts, pictures: int) -> Iterator[Html]:
    yield make_section("Cohort", _tabulate_cohort(facts))
    if facts.evaluation is not None:
        yield from show_evaluation(facts.evaluation, facts.colors)
        yield from show_readers(facts.agreement)
    if State.FAILED in facts.states.values():
        yield make_section("Failures", _tabulate_failures(facts))
    if unread := list(list_unreadable(facts.run, facts.run.rows)):
        note = Html('<p class="failed">These pixels could not be read and were taken as white: look at the files.</p>')
        yield make_section("Unreadable pixels", note, make_table([Column("slide"), Column("pixels", True)], unread))
    yield from _show_pictures(facts, pictures)
    damaged: dict[str, OutputError] = {}
    if priors := measure_priors(facts.run, damaged.__setitem__):
        note = Html(
            "<p>Mean probability around a sample of objects, each shifted to where it meets the others best.</p>"
        )
        yield make_section("Typical shapes", note, draw_priors(priors, facts.colors))
    if damaged:
        yield make_section("Damaged results", make_table([Column("slide"), Column("message")], damaged.items()))
    yield make_section("Slides", _EXPLAINED, _tabulate_slides(facts))
    if facts.summaries:
        yield make_section("Time by stage", draw_bars(_sum_seconds(facts)))
    yield make_section("Provenance", _tabulate_provenance(facts.record))


def _tabulate_cohort(facts: _Facts) -> Html:
    columns = [Column("target"), *(Column(name, True) for name in ("slides", "objects", "area mm²", "mean p"))]
    entries = [entry for summary in facts.summaries.values() for entry in summary["targets"]]
    rows = []
    for name, color in facts.colors.items():
        mine = [entry for entry in entries if entry["target"] == name and entry["objects"]]
        area, objects = sum(entry["area_um2"] for entry in mine), sum(entry["objects"] for entry in mine)
        weighted = sum(entry["area_um2"] * entry["mean_probability"] for entry in mine)
        probability = show_number(weighted / area if area else None, 2)
        rows.append((make_swatch(name, color), len(mine), objects, f"{area / 1e6:.4f}", probability))
    return make_table(columns, rows)


def _tabulate_failures(facts: _Facts) -> Html:
    failures = {name: facts.run.failure(name) for name, state in facts.states.items() if state is State.FAILED}
    rows = [(name, failure["reason"], failure["message"]) for name, failure in failures.items()]
    return make_table([Column("slide"), Column("reason"), Column("message")], rows)


def _tabulate_slides(facts: _Facts) -> Html:
    numbers = ("tissue", "tiles", "seconds")
    found = ("objects", "area mm²", "mean p", "validity p", "Dice")
    columns = [Column("slide"), Column("state"), *(Column(name, True) for name in numbers), Column("target")]
    rows = [row for name in facts.states for row in _list_rows(facts, name)]
    return make_table([*columns, *(Column(name, True) for name in found)], rows)


def _list_rows(facts: _Facts, slide: str) -> Iterator[tuple[object, ...]]:
    """A row for each target of a slide, the slide's own cells in the first of them alone."""
    summary = facts.summaries.get(slide)
    share = _show_share(summary["tissue_share"]) if summary else ""
    if summary is None or not summary["targets"]:
        yield slide, facts.states[slide], share, *[""] * 8
        return
    seconds = f"{sum(summary['seconds'].values()):.1f}"
    own: tuple[object, ...] = (slide, facts.states[slide], share, summary["tiles"], seconds)
    for entry in summary["targets"]:
        dice = facts.scores.get((slide, entry["target"]), {}).get("dice")
        sure = (show_number(entry["mean_probability"], 2), show_number(entry.get("p_value"), 3), show_number(dice))
        found = (entry["objects"], f"{entry['area_um2'] / 1e6:.4f}", *sure)
        yield *own, entry["target"] + (" (refused)" if entry["refused"] else ""), *found
        own = ("",) * len(own)


def _show_pictures(facts: _Facts, limit: int) -> Iterator[Html]:
    gallery = open_gallery(facts.run, facts.evaluation)
    if gallery.references and facts.evaluation:
        yield from _show_tiles(facts.run, gallery.references, facts.evaluation.get("tiles", []))
    chosen = gallery.choose(limit)
    if not chosen:
        return
    left_out = len(facts.summaries) - len(chosen)
    more = f" {left_out} slides are not shown; those with the lowest Dice are." if left_out else ""
    panels = "The slide, its probability maps, and its reference where it was compared (grey: not compared)."
    order = " The lowest Dice comes first." if gallery.dices else ""
    yield make_section("Pictures", Html(f"<p>{panels}{order}{more}</p>"), draw_figures(gallery, chosen))


def _show_tiles(run: Run, references: References, tiles: Sequence[Numbers]) -> Iterator[Html]:
    if extremes := parse_extremes(tiles):
        note = Html(
            "<p>Regions of about a tile's size where prediction and reference agree least and most: the prediction's "
            "outline is blue, the reference's yellow, green where they run together. Places are x, y and size in "
            "level-0 pixels.</p>"
        )
        yield make_section("Worst and best tiles", note, draw_extremes(run, extremes, references))


def _sum_seconds(facts: _Facts) -> dict[str, float]:
    sums: dict[str, float] = {}
    for summary in facts.summaries.values():
        for stage, seconds in summary["seconds"].items():
            sums[stage] = sums.get(stage, 0.0) + seconds
    return sums


def _tabulate_provenance(record: Numbers) -> Html:
    machine, model = record["machine"], record["model"]
    settings = {name: value for name, value in record["config"].items() if value not in (None, [], ())}
    facts = {
        "wsiparse": record["wsiparse"],
        "started": record["started"],
        "command": " ".join(record["command"]),
        "model": f"{model['name']}, digest {model['digest']}",
        "licence": model.get("licence") or "none named in the weights",
        "fingerprint": record["fingerprint"],
        "prompts": "; ".join(f"{entry['name']}: {entry['prompt']}" for entry in record["targets"]),
        "settings": _list_pairs(settings),
        "machine": _list_pairs(machine),
        "libraries": _list_pairs(record["libraries"]),
    }
    return make_table([Column("what"), Column("value")], [(name, _break(value)) for name, value in facts.items()])


def _break(value: object) -> Html:
    return Html(f'<span style="overflow-wrap:anywhere">{escape(value)}</span>')


def _list_pairs(values: Numbers) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _show_share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"

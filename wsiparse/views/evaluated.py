"""What an evaluation says, as the sections of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wsiparse.views.charts import draw_boxes, draw_matrix
from wsiparse.views.markup import Column, Html, escape, join, make_section, make_table, show_number
from wsiparse.views.plots import draw_calibration

Numbers = Mapping[str, Any]
Colors = Mapping[str, Sequence[int]]
"""Colour of each target."""


def show_evaluation(evaluation: Numbers, colors: Colors) -> Iterator[Html]:
    """The sections of evaluation.json."""
    dices = {entry["target"]: _list_dices(evaluation, entry["target"]) for entry in evaluation["targets"]}
    boxes = {target: values for target, values in dices.items() if values}
    notes = Html("<p>Dice of the added pixels with the 95 % interval of drawing slides; each dot is a slide.</p>")
    drawn = draw_boxes(boxes, colors) if boxes else Html("")
    yield make_section("Agreement with the references", notes, _tabulate_scores(evaluation), drawn)
    if curves := _draw_curves(evaluation, colors):
        note = Html(
            "<p>Of pixels of a probability, how many the reference holds; on the dashed line it is as said.</p>"
        )
        yield make_section("Calibration of the probabilities", note, Html(f'<div class="plots">{curves}</div>'))
    objects = [entry for entry in evaluation["targets"] if entry["objects"]]
    if objects:
        yield make_section("Objects", _tabulate_objects(objects))
    yield from _show_groups(evaluation)
    if evaluation["refused"]:
        columns = [Column("slide"), Column("message")]
        yield make_section("Slides that were not compared", make_table(columns, list(evaluation["refused"].items())))


def show_readers(agreement: Sequence[Numbers]) -> Iterator[Html]:
    """The section of agreement.json, if any target was drawn by several readers."""
    if agreement:
        note = Html("<p>Dice of every two readers over the slides that all of them drew.</p>")
        yield make_section("Agreement of the readers", note, *_tabulate_readers(agreement))


def _show_groups(evaluation: Numbers) -> Iterator[Html]:
    """What is told of several targets at once, and of labels around several things."""
    for confusion in evaluation["confusions"]:
        names = ["none", *confusion["targets"]]
        note = Html("<p>Share of the pixels of each reference target (row) that were taken for each target.</p>")
        yield make_section("Confusion within a group", note, draw_matrix(names, confusion["pixels"]))
    if evaluation["regions"]:
        note = Html("<p>Of what was found inside labels drawn around many things: the share that is their target.</p>")
        yield make_section("Inside coarse labels", note, _tabulate_regions(evaluation["regions"]))


def _draw_curves(evaluation: Numbers, colors: Colors) -> Html:
    known = [entry for entry in evaluation["targets"] if entry["calibration"]]
    return join(
        draw_calibration(entry["target"], entry["calibration"]["curve"], colors[entry["target"]]) for entry in known
    )


def _list_dices(evaluation: Numbers, target: str) -> list[float]:
    entries = (entry for entry in evaluation["slides"] if entry["target"] == target)
    return [entry["dice"] for entry in entries if entry["dice"] is not None]


def _tabulate_scores(evaluation: Numbers) -> Html:
    names = ("slides", "Dice", "95 %", "mean", "median", "IoU", "precision", "recall", "ECE", "HD95 µm")
    columns = [Column("target"), *(Column(name, True) for name in names)]
    rows = []
    for entry in evaluation["targets"]:
        bounds, calibration = entry["intervals"]["dice"], entry["calibration"] or {}
        interval = "–" if bounds["low"] is None else f"{bounds['low']:.3f}–{bounds['high']:.3f}"
        dices = (show_number(entry["mean_dice"]), show_number(entry["median_dice"]))
        pixels = (show_number(entry.get(name)) for name in ("iou", "precision", "recall"))
        measures = (*dices, *pixels, show_number(calibration.get("ece")), show_number(entry["hd95_um"], 1))
        rows.append((entry["target"], entry["slides"], show_number(entry["dice"]), interval, *measures))
    return make_table(columns, rows)


def _tabulate_objects(targets: Sequence[Numbers]) -> Html:
    measures = {"PQ": "pq", "DQ": "dq", "SQ": "sq", "object F1": "object_f1", "object Dice": "object_dice"}
    names = ("predicted", "reference", "count error", *measures)
    rows = []
    for entry in targets:
        objects = entry["objects"]
        counts = (objects["predicted_objects"], objects["reference_objects"], show_number(objects["count_error"]))
        rows.append((entry["target"], *counts, *(show_number(objects[name]) for name in measures.values())))
    return make_table([Column("target"), *(Column(name, True) for name in names)], rows)


def _tabulate_regions(regions: Sequence[Numbers]) -> Html:
    columns = [Column("slide"), Column("target"), Column("agreement", True), Column("share of the area", True)]
    rows = [
        (entry["slide"] or "all", entry["target"], show_number(entry["agreement"]), show_number(entry["coverage"]))
        for entry in regions
    ]
    return make_table(columns, rows)


def _tabulate_readers(targets: Sequence[Numbers]) -> Iterator[Html]:
    """A table of each target's pairs of readers."""
    for entry in targets:
        among, model = show_number(entry["among_readers"]), show_number(entry["of_model"])
        columns = [Column(entry["target"]), *(Column(reader, True) for reader in entry["readers"])]
        rows = [(reader, *map(show_number, row)) for reader, row in zip(entry["readers"], entry["dice"], strict=True)]
        yield Html(f"<p>{escape(entry['target'])}: readers with each other {among}, model with them {model}</p>")
        yield make_table(columns, rows)

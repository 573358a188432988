"""Two evaluated runs held against each other, slide by slide."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from wsiparse.errors import InputError
from wsiparse.evaluation.shape import Regularity, Trend, gain_against_irregularity
from wsiparse.evaluation.statistics import Comparison, Resampling, compare_runs
from wsiparse.evaluation.table import blank_nan
from wsiparse.files import read_json, write_json
from wsiparse.runs.run import Run

METRICS = (
    *("dice", "iou", "precision", "recall", "ece", "hd95_um"),
    *("pq", "dq", "sq", "object_f1", "object_dice", "count_error"),
)
"""Columns of evaluation.csv in which two runs can be compared."""
Values = Mapping[str, float]
"""A metric by the slide's id; nan where a slide has none."""


@dataclass(frozen=True)
class TargetComparison:
    """One target in two runs, over the slides that both have evaluated."""

    target: str
    first: float
    """Mean over the slides on which both runs have a value."""
    second: float
    slides: int
    """Slides on which both have one."""
    left_out: int
    """Slides on which one run alone was evaluated, or has a value."""
    comparison: Comparison
    """Differences are second less first."""


def compare_folders(first: Run, second: Run, metric: str = "dice") -> list[TargetComparison]:
    """Compare each target that both runs have evaluated, in the order of the first; slides pair by their ids.

    Slides of one id that are another file in either run are left out; `find_differences` names them. Raises InputError
    for an unknown metric, and where a run was not evaluated or they share no slide and target.
    """
    if metric not in METRICS:
        raise InputError(f"metric {metric!r}: expected one of {', '.join(METRICS)}")
    one, other = _read_pair(first, second, metric)
    shared = [target for target in one if target in other]
    compared = [_compare_target(target, one[target], other[target]) for target in shared]
    if not any(part.slides for part in compared):
        asked = ", both with --hd95" if metric == "hd95_um" else ""
        raise InputError(
            f"{first.path} and {second.path}: no slide on which both have a {metric} of the same target; expected two "
            f"runs over the same manifest, evaluated against the same references{asked}"
        )
    return compared


def read_metric(run: Run, metric: str) -> dict[str, Values]:
    """A column of a run's evaluation.csv by target and slide; InputError where the run was not evaluated."""
    path = run.path / "evaluation.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["slide"]]
            values = [(row["target"], row["slide"], float(row[metric] or math.nan)) for row in rows]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; run `wsiparse evaluate {run.path}` first") from error
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: no column {metric!r} ({error}); run `wsiparse evaluate {run.path}` again") from error
    targets: dict[str, dict[str, float]] = {}
    for target, slide, value in values:
        targets.setdefault(target, {})[slide] = value
    return dict(targets)


def _read_pair(first: Run, second: Run, metric: str) -> tuple[dict[str, Values], dict[str, Values]]:
    """A column of both runs, less the slides that are not the same file in both."""
    one, other = (read_metric(run, metric) for run in (first, second))
    strange = set(_find_other_files(first, second, one, other))
    return _leave_out(one, strange), _leave_out(other, strange)


def _leave_out(targets: Mapping[str, Values], slides: set[str]) -> dict[str, Values]:
    return {
        target: {slide: value for slide, value in values.items() if slide not in slides}
        for target, values in targets.items()
    }


def _find_other_files(first: Run, second: Run, one: Mapping[str, Values], other: Mapping[str, Values]) -> list[str]:
    """Ids under which both runs evaluated a slide, but not the same file."""
    ids = [dict.fromkeys(slide for values in targets.values() for slide in values) for targets in (one, other)]
    files = [(slide, first.parsed_file(slide), second.parsed_file(slide)) for slide in ids[0] if slide in ids[1]]
    return [slide for slide, mine, theirs in files if mine and theirs and mine != theirs]


def find_differences(first: Run, second: Run) -> list[str]:
    """What sets two evaluations apart beside the runs themselves, a line each: targets, slides' files, references.

    Where references come from is compared by where their folder or manifest lies, not by what the files hold.
    """
    one, other = (read_metric(run, "dice") for run in (first, second))
    lines = [
        f"only in {run.path}: {', '.join(alone)}"
        for run, mine, theirs in ((first, one, other), (second, other, one))
        if (alone := [target for target in mine if target not in theirs])
    ]
    if strange := _find_other_files(first, second, one, other):
        lines.append(f"left out, as they are not the same files in both runs: {', '.join(strange)}")
    sources = [_read_source(run) for run in (first, second)]
    for name in dict.fromkeys(chain(*sources)):
        mine, theirs = (source.get(name) or "none given" for source in sources)
        if mine != theirs:
            lines.append(f"not evaluated alike: {name} {mine} and {theirs}")
    return lines


def _read_source(run: Run) -> dict[str, str | None]:
    """Where a run's references come from; empty of an evaluation that does not say."""
    path = run.path / "evaluation.json"
    return dict(read_json(path).get("source", {})) if path.exists() else {}


@dataclass(frozen=True)
class ShapeGain:
    """One target on one slide in two runs: how regular what was to be found is, and what the second run gains."""

    slide: str
    target: str
    regularity: Regularity
    gain: float


def list_gains(first: Run, second: Run, metric: str = "dice") -> list[ShapeGain]:
    """The gains of the second run by slide and target, with the shape of the first one's reference (paper's Fig. 3).

    Slides on which a run has no value, that are another file in either, or that were evaluated before shapes were
    measured, are left out.
    """
    one, other = _read_pair(first, second, metric)
    gains = []
    for entry in _read_document(first)["slides"]:
        slide, target, shape = entry["slide"], entry["target"], entry.get("shape")
        values = (one[target].get(slide, math.nan), other.get(target, {}).get(slide, math.nan))
        if shape and None not in shape.values() and np.isfinite(values).all():
            gains.append(ShapeGain(slide, target, Regularity(**shape), values[1] - values[0]))
    return gains


def _read_document(run: Run) -> dict[str, Any]:
    path = run.path / "evaluation.json"
    try:
        return dict(read_json(path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; run `wsiparse evaluate {run.path}` again") from error


def find_trends(gains: Sequence[ShapeGain]) -> dict[str, Trend]:
    """By ratio of shape, the line through the gains of all slides and targets over 1 - ratio."""
    values = [gain.gain for gain in gains]
    return {
        ratio.name: gain_against_irregularity([getattr(gain.regularity, ratio.name) for gain in gains], values)
        for ratio in fields(Regularity)
    }


def _compare_target(target: str, one: Values, other: Values) -> TargetComparison:
    slides = [slide for slide in one if slide in other]
    pairs = np.array([(one[slide], other[slide]) for slide in slides]).reshape(-1, 2)  # [slides, 2]
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    means = pairs.mean(axis=0).tolist() if len(pairs) else [math.nan, math.nan]
    left_out = len({*one, *other}) - len(pairs)
    return TargetComparison(target, means[0], means[1], len(pairs), left_out, compare_runs(pairs[:, 0], pairs[:, 1]))


@dataclass(frozen=True)
class RunsComparison:
    """Two runs held against each other in one metric; what it says of them is read once, when it is first asked for."""

    first: Run
    second: Run
    metric: str = "dice"

    @cached_property
    def targets(self) -> list[TargetComparison]:
        """Each target that both have evaluated."""
        return compare_folders(self.first, self.second, self.metric)

    @cached_property
    def differences(self) -> list[str]:
        """What sets them apart beside the runs themselves."""
        return find_differences(self.first, self.second)

    @cached_property
    def gains(self) -> list[ShapeGain]:
        """By slide and target, with the shape of what was to be found."""
        return list_gains(self.first, self.second, self.metric)


def write_comparison(path: Path, compared: RunsComparison) -> None:
    """Write a comparison as JSON: the means, the mean and median difference with its interval, both tests.

    And the gains by the shape of what was to be found, with the line through them for each ratio.
    """
    folders = {name: str(getattr(compared, name).path.resolve()) for name in ("first", "second")}
    targets = [_describe_target(part) for part in compared.targets]
    trends = {name: blank_nan(asdict(trend)) for name, trend in find_trends(compared.gains).items()}
    shape = {"trends": trends, "gains": [asdict(gain) for gain in compared.gains]}
    settings = {"metric": compared.metric, "differences": compared.differences, "resampling": asdict(Resampling())}
    write_json(path, {**folders, **settings, "targets": targets, "irregularity": shape})


def _describe_target(part: TargetComparison) -> dict[str, Any]:
    comparison = part.comparison
    tests = {"wilcoxon_p": comparison.wilcoxon_p, "t_p": comparison.t_p}
    mean = comparison.mean
    difference = {"mean": mean.value, "low": mean.low, "high": mean.high, "median": comparison.median}
    numbers = {name: n for name, n in asdict(part).items() if name != "comparison"}
    return {**blank_nan(numbers), "difference": blank_nan(difference), **blank_nan(tests)}

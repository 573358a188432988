"""Two runs side by side as a page: the tests, and gains drawn against the shape of what was to be found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from wsiparse.evaluation.shape import Trend
from wsiparse.runs.compare import RunsComparison, ShapeGain, TargetComparison, find_trends
from wsiparse.views.comparison import show_number, show_p
from wsiparse.views.markup import Column, Html, escape, join, make_section, make_swatch, make_table, write_page
from wsiparse.views.plots import Dot, draw_gains

RATIOS = {"box_ratio": "box ratio", "convex_ratio": "convex ratio", "inertia_ratio": "inverse rotational inertia"}
_PALETTE = ((91, 127, 181), (203, 108, 72), (88, 150, 96), (150, 96, 160), (120, 120, 120))


def write_comparison_page(path: Path, compared: RunsComparison) -> None:
    """Write a comparison as one HTML file that needs no other."""
    names = [run.path.resolve().name for run in (compared.first, compared.second)]
    note = Html(
        "<p>Differences are B less A on the same slides; p of Wilcoxon's test (ranks) and of Student's (mean).</p>"
    )
    apart = join(Html(f"<p>{escape(line)}</p>") for line in compared.differences)
    sections = [make_section(f"Both runs: {compared.metric}", note, _tabulate(compared.targets), apart)]
    if compared.gains:
        sections.append(make_section("Gain against irregular shape", *_show_gains(compared.gains)))
    write_page(path, f"A: {names[0]} · B: {names[1]}", "Two runs over the same slides", sections)


def _tabulate(comparisons: Sequence[TargetComparison]) -> Html:
    names = ("slides", "A", "B", "B - A", "95 %", "p ranks", "p mean")
    rows = []
    for part in comparisons:
        mean, tests = part.comparison.mean, (part.comparison.wilcoxon_p, part.comparison.t_p)
        interval = "–" if math.isnan(mean.low) else f"{mean.low:+.3f} … {mean.high:+.3f}"
        means = map(show_number, (part.first, part.second))
        values = (*means, show_number(mean.value, "+.3f"), interval, *map(show_p, tests))
        rows.append((part.target, part.slides, *values))
    return make_table([Column("target"), *(Column(name, True) for name in names)], rows)


def _show_gains(gains: Sequence[ShapeGain]) -> list[Html]:
    targets = list(dict.fromkeys(gain.target for gain in gains))
    colors = {name: _PALETTE[n % len(_PALETTE)] for n, name in enumerate(targets)}
    trends = find_trends(gains)
    text = "A dot is a target on a slide. The reference's pixels are one mask; 0 is a box, a convex shape or a disc."
    legend = join((make_swatch(name, color) for name, color in colors.items()), " &nbsp; ")
    plots = join(draw_gains(RATIOS[name], _list_dots(gains, name, colors), trend) for name, trend in trends.items())
    return [Html(f"<p>{text}</p><p>{legend}</p>"), Html(f'<div class="plots">{plots}</div>'), _tabulate_trends(trends)]


def _list_dots(gains: Sequence[ShapeGain], ratio: str, colors: Mapping[str, tuple[int, int, int]]) -> list[Dot]:
    return [
        Dot((1 - getattr(gain.regularity, ratio), gain.gain), colors[gain.target], f"{gain.slide}, {gain.gain:+.3f}")
        for gain in gains
    ]


def _tabulate_trends(trends: Mapping[str, Trend]) -> Html:
    columns = [Column("shape"), *(Column(name, True) for name in ("slope", "intercept", "r", "p", "dots"))]
    rows = []
    for name, part in trends.items():
        numbers = map(show_number, (part.slope, part.intercept, part.correlation))
        rows.append((RATIOS[name], *numbers, show_p(part.p_value), part.points))
    return make_table(columns, rows)

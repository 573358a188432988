"""Charts drawn as SVG inside a page: box plots, bars, and matrices of shaded cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from wsiparse.views.markup import Html, escape, join

Color = Sequence[int]
_LEFT, _WIDTH, _ROW = 220, 620, 44


def draw_boxes(values: Mapping[str, Sequence[float]], colors: Mapping[str, Color]) -> Html:
    """A box plot a target of values in 0..1: quartiles, median, whiskers to 1.5 quartile ranges, every slide a dot."""
    rows = [_draw_box(name, part, _css(colors[name]), n * _ROW) for n, (name, part) in enumerate(values.items())]
    height = len(rows) * _ROW
    ticks = [_draw_tick(n / 5, height) for n in range(6)]
    return _wrap(join([*ticks, *rows]), height + 24)


def _draw_box(name: str, values: Sequence[float], color: str, top: int) -> Html:
    """Box and whiskers in the upper half of a row, the slides in the lower: neither hides the other."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    reach = 1.5 * (high - low)
    inside = [value for value in values if low - reach <= value <= high + reach]
    middle = top + _ROW * 0.3
    shapes = [
        _label(name, top + _ROW / 2),
        f'<line x1="{_x(min(inside))}" x2="{_x(max(inside))}" y1="{middle}" y2="{middle}" stroke="#4a5568"/>',
        f'<rect x="{_x(low)}" y="{middle - 7}" width="{_x(high) - _x(low):.1f}" height="14" fill="#fff"/>',
        f'<rect x="{_x(low)}" y="{middle - 7}" width="{_x(high) - _x(low):.1f}" height="14" fill="{color}" '
        'fill-opacity=".35" stroke="#4a5568"/>',
        f'<line x1="{_x(median)}" x2="{_x(median)}" y1="{middle - 7}" y2="{middle + 7}" stroke="#000" '
        'stroke-width="2"/>',
        *(_draw_dot(value, top + _ROW * 0.72 + (n % 5 - 2) * 2, color) for n, value in enumerate(values)),
    ]
    return join(map(Html, shapes))


def _draw_dot(value: float, y: float, color: str) -> str:
    return (
        f'<circle cx="{_x(value)}" cy="{y:.1f}" r="2.6" fill="{color}" fill-opacity=".5" stroke="#0005">'
        f"<title>{value:.3f}</title></circle>"
    )


def _draw_tick(value: float, height: int) -> Html:
    x = _x(value)
    line = f'<line x1="{x}" x2="{x}" y1="0" y2="{height}" stroke="#e6e9ef"/>'
    return Html(f'{line}<text x="{x}" y="{height + 16}" text-anchor="middle">{value:.1f}</text>')


def draw_bars(seconds: Mapping[str, float]) -> Html:
    """A bar a stage, its seconds and its share of all."""
    total = sum(seconds.values()) or 1.0
    rows = []
    for n, (stage, spent) in enumerate(seconds.items()):
        y, width = n * 24, spent / total * (_WIDTH - 120)
        bar = f'<rect x="{_LEFT}" y="{y + 4}" width="{width:.1f}" height="16" fill="#5b7fb5"/>'
        text = f'<text x="{_LEFT + width + 8:.1f}" y="{y + 16}">{spent:.1f} s, {spent / total:.0%}</text>'
        rows.append(Html(f"{_label(stage, y + 12)}{bar}{text}"))
    return _wrap(join(rows), len(rows) * 24)


def draw_matrix(names: Sequence[str], pixels: Sequence[Sequence[int]]) -> Html:
    """Pixels of each reference (row) and prediction (column), shaded by their share of the row."""
    head = join((Html(f"<th>{escape(name)}</th>") for name in names), "")
    rows = [_shade_row(name, row) for name, row in zip(names, pixels, strict=True)]
    corner = "<th>reference ↓ prediction →</th>"
    return Html(f'<table class="matrix">\n<tr>{corner}{head}</tr>\n{join(rows)}\n</table>')


def _shade_row(name: str, row: Sequence[int]) -> Html:
    total = sum(row)
    if not total:
        return Html(f"<tr><th>{escape(name)}</th>{'<td>–</td>' * len(row)}</tr>")
    cells = [
        f'<td style="background:rgba(91,127,181,{count / total:.3f})" title="{count} pixels">{count / total:.1%}</td>'
        for count in row
    ]
    return Html(f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>")


def _label(text: str, middle: float) -> Html:
    shown = text if len(text) <= 32 else text[:31] + "…"
    return Html(f'<text x="{_LEFT - 12}" y="{middle + 4:.1f}" text-anchor="end">{escape(shown)}</text>')


def _wrap(shapes: Html, height: int) -> Html:
    width = _LEFT + _WIDTH + 30
    return Html(f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">\n{shapes}\n</svg>')


def _x(value: float) -> float:
    return round(_LEFT + value * _WIDTH, 1)


def _css(color: Color) -> str:
    return f"rgb({','.join(str(int(value)) for value in color)})"

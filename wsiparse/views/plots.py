"""Square plots drawn as SVG inside a page: calibration, and what a score gains where shapes are irregular."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wsiparse.evaluation.shape import Trend
from wsiparse.views.markup import Html, escape, join

_SIDE, _LEFT, _TOP, _BELOW = 230, 52, 28, 44
_INK, _LINE = "#4a5568", "#e6e9ef"
Point = tuple[float, float]


@dataclass(frozen=True)
class _Axes:
    """A square of the page, and the values at its edges; x runs from 0 to 1."""

    title: str
    names: tuple[str, str]
    """Of x and of y."""
    low: float = 0.0
    high: float = 1.0

    def place(self, point: Point) -> Point:
        """A point in pixels of the drawing."""
        x, y = point
        share = (y - self.low) / (self.high - self.low)
        return round(_LEFT + x * _SIDE, 1), round(_TOP + (1 - share) * _SIDE, 1)

    def connect(self, points: Sequence[Point], style: str) -> Html:
        """A line through points."""
        pairs = " ".join(f"{x},{y}" for x, y in map(self.place, points))
        return Html(f'<polyline points="{pairs}" fill="none" {style}/>')

    def mark(self, point: Point, look: str, told: str) -> Html:
        """A dot that says more where a mouse rests on it."""
        x, y = self.place(point)
        return Html(f'<circle cx="{x}" cy="{y}" {look}><title>{escape(told)}</title></circle>')

    def frame(self, *shapes: Html) -> Html:
        """The whole drawing."""
        width, height = _LEFT + _SIDE + 20, _TOP + _SIDE + _BELOW
        parts = [self._label((width / 2, 16), self.title, "600"), *self._draw_ticks(), *shapes, *self._draw_names()]
        return Html(
            f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">{join(parts)}</svg>'
        )

    def _draw_ticks(self) -> list[Html]:
        shares = [n / 4 for n in range(5)]
        values = [self.low + share * (self.high - self.low) for share in shares]
        across = [self.connect([(0, value), (1, value)], f'stroke="{_LINE}"') for value in values]
        beside = [self._label((_LEFT - 20, self.place((0, value))[1] + 4), f"{value:.2f}") for value in values]
        under = [self._label((self.place((n, 0))[0], _TOP + _SIDE + 16), f"{n:.2f}") for n in shares]
        return [*across, *beside, *under]

    def _draw_names(self) -> list[Html]:
        x, y = self.names
        middle = _TOP + _SIDE / 2
        across = self._label((_LEFT + _SIDE / 2, _TOP + _SIDE + 36), x)
        return [across, Html(f'<g transform="rotate(-90 10 {middle})">{self._label((10, middle + 2), y)}</g>')]

    def _label(self, place: Point, text: str, weight: str = "400") -> Html:
        x, y = place
        style = f'text-anchor="middle" style="font-weight:{weight};font-size:11px"'
        return Html(f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>')


def draw_calibration(name: str, curve: Mapping[str, Sequence[Any]], color: Sequence[int]) -> Html:
    """Observed share of pixels over their predicted probability; a dot a bin, larger with its share of the pixels."""
    axes = _Axes(name, ("predicted probability", "share in the reference"))
    bins = [bin_ for bin_ in zip(curve["predicted"], curve["observed"], curve["pixels"], strict=True) if bin_[2]]
    total = sum(pixels for _, _, pixels in bins)
    fill = f'fill="rgb({",".join(map(str, color))})" stroke="{_INK}"'
    dots = [
        axes.mark((p, seen), f'r="{2 + 6 * (pixels / total) ** 0.5:.1f}" {fill}', f"{p:.3f}: {seen:.3f} of {pixels:,}")
        for p, seen, pixels in bins
    ]
    ideal = axes.connect([(0, 0), (1, 1)], f'stroke="{_INK}" stroke-dasharray="4 4"')
    line = axes.connect([(p, seen) for p, seen, _ in bins], f'stroke="{_INK}"')
    return axes.frame(ideal, line, *dots)


@dataclass(frozen=True)
class Dot:
    """One gain over one irregularity."""

    place: Point
    color: Sequence[int]
    told: str


def draw_gains(title: str, dots: Sequence[Dot], trend: Trend) -> Html:
    """Gains over 1 - ratio of a shape, with the line through them where there is one."""
    reach = max([0.05, *(abs(dot.place[1]) for dot in dots)]) * 1.1
    axes = _Axes(title, ("irregular shape (1 - ratio)", "gain, B - A"), -reach, reach)
    marks = [
        axes.mark(dot.place, f'r="3.5" fill="rgb({",".join(map(str, dot.color))})" stroke="{_INK}"', dot.told)
        for dot in dots
    ]
    zero = axes.connect([(0, 0), (1, 0)], f'stroke="{_INK}"')
    ends = [(x, trend.intercept + trend.slope * x) for x in _span(dots)]
    line = [axes.connect(ends, 'stroke="#b3261e" stroke-width="1.5"')] if trend.slope == trend.slope else []
    return axes.frame(zero, *line, *marks)


def _span(dots: Sequence[Dot]) -> Point:
    places = [dot.place[0] for dot in dots]
    return min(places), max(places)

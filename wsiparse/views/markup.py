"""The few pieces of HTML that a page needs; every text is escaped where it is put in."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from PIL import Image

from wsiparse.files import write_whole

_QUALITY = 85
"""Of WebP: no edge or colour is seen to be lost."""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


@dataclass(frozen=True)
class Column:
    """The head of a column; numbers stand on the right."""

    name: str
    number: bool = False

    @property
    def attribute(self) -> str:
        """The class of its cells."""
        return ' class="n"' if self.number else ""


def escape(value: object) -> Html:
    """Any value as HTML."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def join(parts: Iterable[object], separator: str = "\n") -> Html:
    """Several pieces as one."""
    return Html(separator.join(escape(part) for part in parts))


def write_page(path: Path, title: str, subtitle: str, sections: Iterable[Html]) -> None:
    """Write an HTML file that needs no other."""
    page = Template(files("wsiparse.views").joinpath("report.html").read_text(encoding="utf-8"))
    text = page.substitute(title=escape(title), subtitle=escape(subtitle), sections=join(sections))
    with write_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def make_section(title: str, *parts: object) -> Html:
    """A heading with what stands under it."""
    return Html(f"<section>\n<h2>{escape(title)}</h2>\n{join(parts)}\n</section>")


def make_table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> Html:
    """A table; a row whose first cell is filled begins a new group of rows."""
    head = join((Html(f"<th{column.attribute}>{escape(column.name)}</th>") for column in columns), "")
    return Html(f"<table>\n<thead><tr>{head}</tr></thead>\n{join(_make_row(columns, row) for row in rows)}\n</table>")


def _make_row(columns: Sequence[Column], row: Sequence[object]) -> Html:
    cells = (Html(f"<td{column.attribute}>{escape(cell)}</td>") for column, cell in zip(columns, row, strict=True))
    first = ' class="first"' if row[0] else ""
    return Html(f"<tr{first}>{join(cells, '')}</tr>")


def show_number(value: float | None, digits: int = 3) -> str:
    """A number in a table, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def make_swatch(name: str, color: Sequence[int]) -> Html:
    """A name behind a square of its colour."""
    red, green, blue = (int(value) for value in color)
    return Html(f'<span class="swatch" style="background:rgb({red},{green},{blue})"></span>{escape(name)}')


def embed_image(image: Image.Image, alternative: str) -> Html:
    """A picture inside the page itself, as WebP: a fraction of PNG's bytes, so that a cohort can be mailed."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "WEBP", quality=_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    size = f'width="{image.width}" height="{image.height}"'
    return Html(f'<img src="data:image/webp;base64,{data}" {size} alt="{escape(alternative)}">')

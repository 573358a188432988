"""The slides of a run as figures of a report: the slide, its maps, and its reference where there is one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsiparse.errors import WsiparseError
from wsiparse.maps.canvas import find_canvases
from wsiparse.runs.manifest import ManifestRow
from wsiparse.runs.references import References, ReferenceSource, describe_slide, find_run_references, list_finished
from wsiparse.runs.run import Run, State
from wsiparse.slides.open import make_reader
from wsiparse.views.markup import Html, embed_image, escape, join
from wsiparse.views.thumbnails import make_thumbnail, paint_maps, paint_reference

SIDE = 320
"""Longer side of a picture, in pixels."""
Dices = Mapping[str, Mapping[str, float | None]]
"""Dice by slide and target."""


@dataclass(frozen=True)
class Gallery:
    """Which slides of a run are shown, and with which references."""

    run: Run
    references: References | None
    dices: Dices

    def choose(self, limit: int) -> list[ManifestRow]:
        """At most `limit` finished slides, that of the lowest Dice first; where none has one, as the manifest lists."""
        return sorted(list_finished(self.run), key=self._rank)[:limit]

    def draw(self, row: ManifestRow) -> Html:
        """The figure of a slide; what cannot be read any more is said instead of shown."""
        try:
            shown = self._draw_pictures(row)
        except WsiparseError as error:
            shown = Html(f'<p class="failed">{escape(error)}</p>')
        return Html(f"<figure><div>{shown}</div><figcaption>{escape(self._caption(row))}</figcaption></figure>")

    def _draw_pictures(self, row: ManifestRow) -> Html:
        slide = describe_slide(self.run, row)
        with closing(make_reader(slide)) as reader:
            thumbnail = make_thumbnail(reader, SIDE)
        pictures = [embed_image(thumbnail.image, f"{row.id}")]
        if not self._lacks_maps(row):
            found = paint_maps(thumbnail, self._store(row))
            pictures.append(embed_image(found, f"{row.id} with its maps"))
        if self.references and row.id in self.references.files:
            reference = self.references.read(slide, thumbnail.grid.mpp)
            drawn = paint_reference(thumbnail, reference, self.run.targets)
            pictures.append(embed_image(drawn, f"{row.id} with its reference"))
        return join(pictures)

    def _caption(self, row: ManifestRow) -> str:
        dices = [f"{name} {value:.3f}" for name, value in self.dices.get(row.id, {}).items() if value is not None]
        parts = [row.id, *([f"Dice: {', '.join(dices)}"] if dices else [])]
        return " · ".join([*parts, "its maps are gone"] if self._lacks_maps(row) else parts)

    def _lacks_maps(self, row: ManifestRow) -> bool:
        """Whether maps were deleted, as to save room; without them a slide would look as if nothing was found on it."""
        return self.run.state(row.id) is State.DONE and not find_canvases(self._store(row))

    def _store(self, row: ManifestRow) -> Path:
        return self.run.folder(row.id) / "parse.zarr"

    def _rank(self, row: ManifestRow) -> float:
        values = [value for value in self.dices.get(row.id, {}).values() if value is not None]
        return min(values, default=math.inf)


def open_gallery(run: Run, evaluation: Mapping[str, Any] | None) -> Gallery:
    """The gallery of a run; references are those of its evaluation, as far as they are still there."""
    if evaluation is None:
        return Gallery(run, None, {})
    dices: dict[str, dict[str, float | None]] = {}
    for entry in evaluation["slides"]:
        dices.setdefault(entry["slide"], {})[entry["target"]] = entry["dice"]
    return Gallery(run, _find_references(run, evaluation["source"]), dices)


def _find_references(run: Run, source: Mapping[str, str | None]) -> References | None:
    paths = (Path(path) if path else None for path in (source.get("reference"), source.get("mapping")))
    with suppress(WsiparseError):
        return find_run_references(run, ReferenceSource(*paths))
    return None


def draw_figures(gallery: Gallery, rows: Sequence[ManifestRow]) -> Html:
    """The figures of slides, side by side as far as the page is wide."""
    return Html(f'<div class="slides">\n{join(gallery.draw(row) for row in rows)}\n</div>')

"""Annotations as the text of GeoJSON features, a batch at once: joined from pieces, not object by object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import shapely
from numpy.typing import NDArray

from wsiparse.annotations.batches import MEASURES, Batch, Column
from wsiparse.annotations.features import AREA, PROBABILITY, RUNNER_UP, RUNNER_UP_PROBABILITY, SHAPE, UNKNOWN_COLOR
from wsiparse.annotations.outlines import Polygons
from wsiparse.ontology import Target

_NAMES = (AREA, PROBABILITY, *SHAPE, RUNNER_UP_PROBABILITY)
"""What QuPath calls the columns of a batch, in the order of MEASURES."""
_DIGITS = 6
_MARGIN, _LARGE = 1e-3, 2.0**40
_NOTHING = b"null"


class FeatureText:
    """Writes features of annotations, which QuPath shows and keeps."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = {target.name: target for target in targets}
        self._kinds: dict[tuple[str, str | None], tuple[bytes, bytes]] = {}

    def write(self, batch: Batch, polygons: Polygons, ids: Sequence[str]) -> list[bytes]:
        """The feature of each annotation with the polygon that stands for its own; numbers not finite are left out."""
        kinds = [self._describe(*row) for row in zip(batch.targets, batch.runners_up, strict=True)]
        rows = zip(ids, shapely.to_geojson(polygons), kinds, _write_measures(batch), strict=True)
        return [
            b'{"type":"Feature","id":"%b","geometry":%b,"properties":{%b%b%b}}'
            % (id.encode(), geometry.encode(), head, measures, tail)
            for id, geometry, (head, tail), measures in rows
        ]

    def _describe(self, name: str, runner_up: str | None) -> tuple[bytes, bytes]:
        """What stands before and behind the measurements in the properties of a target's annotations."""
        key = name, runner_up
        if key not in self._kinds:
            target = self._targets.get(name)
            head = orjson.dumps(_describe_class(name, target))[1:-1] + b',"measurements":{'
            second = {} if runner_up is None else {RUNNER_UP: runner_up}
            metadata = {**({"prompt": target.prompt} if target else {}), **second}
            self._kinds[key] = head, b'},"metadata":' + orjson.dumps(metadata)
        return self._kinds[key]


def _describe_class(name: str, target: Target | None) -> dict[str, Any]:
    kind = {"objectType": "detection" if target and target.instances else "annotation"}
    if not name:
        return kind
    # A classification without a colour makes QuPath refuse the whole file.
    return {**kind, "classification": {"name": name, "color": target.color if target else UNKNOWN_COLOR}}


def _write_measures(batch: Batch) -> list[bytes]:
    columns = [_write_column(name, batch.measures[key]) for name, key in zip(_NAMES, MEASURES, strict=True)]
    return [b",".join(filter(None, row)) for row in zip(*columns, strict=True)]


def _write_column(name: str, column: Column) -> list[bytes]:
    """One member of an object for each number, empty where there is none."""
    texts = orjson.dumps(round_numbers(np.array(column, float)).tolist())[1:-1].split(b",")
    start = orjson.dumps(name) + b":"
    return [b"" if text == _NOTHING else start + text for text in texts]


def round_numbers(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Numbers to six decimals as `round` gives them, at a tenth of the time."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = numbers * 10**_DIGITS
        whole = np.rint(scaled)
        # Near the middle of two, and where a float holds few digits beyond the point, the product may be a bit off.
        sure = (np.abs(scaled - whole) < 0.5 - _MARGIN) & (np.abs(scaled) < _LARGE)
    rounded = whole / 10**_DIGITS
    for place in np.flatnonzero(~sure & np.isfinite(numbers)):
        rounded[place] = round(float(numbers[place]), _DIGITS)
    return np.asarray(rounded)

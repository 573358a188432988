"""What OME-Zarr 0.5 says about a map: axes, the place of every level, channels, label colours.

Written as plain dictionaries, after https://ngff.openmicroscopy.org/0.5; the tests validate them with ome-zarr-models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wsiparse.geometry import Grid
from wsiparse.ontology import Target

VERSION = "0.5"
_COARSEST = 512
"""Longest side of the coarsest level."""


def halve_grid(grid: Grid) -> Grid:
    """The next coarser level: half the side, rounded up, at twice the mpp."""
    return Grid(-(-grid.width // 2), -(-grid.height // 2), grid.mpp * 2)


def list_levels(grid: Grid) -> tuple[Grid, ...]:
    """The levels of a pyramid over `grid`, finest first, until no side is longer than 512 pixels."""
    levels = [grid]
    while max(levels[-1].width, levels[-1].height) > _COARSEST:
        levels.append(halve_grid(levels[-1]))
    return tuple(levels)


def describe_image(name: str, levels: Sequence[Grid], targets: Sequence[Target]) -> dict[str, Any]:
    """The `ome` attribute of a probability map with one channel a target."""
    channels = [_describe_channel(target) for target in targets]
    return {**_describe_multiscale(name, levels, ("c", "y", "x"), "mean"), "omero": {"channels": channels}}


def describe_labels(name: str, levels: Sequence[Grid], targets: Sequence[Target]) -> dict[str, Any]:
    """The `ome` attribute of a label map whose code n is the n-th target; its source is the image two groups up."""
    codes = range(1, len(targets) + 1)
    return {
        **_describe_multiscale(name, levels, ("y", "x"), "mode"),
        "image-label": {
            "colors": [
                {"label-value": n, "rgba": [*target.color, 255]} for n, target in zip(codes, targets, strict=True)
            ],
            "properties": [{"label-value": n, "target": target.name} for n, target in zip(codes, targets, strict=True)],
            "source": {"image": "../../"},
        },
    }


def _describe_multiscale(name: str, levels: Sequence[Grid], axes: Sequence[str], method: str) -> dict[str, Any]:
    datasets = [
        {"path": str(n), "coordinateTransformations": _place_level(levels[0], level, len(axes))}
        for n, level in enumerate(levels)
    ]
    multiscale = {"name": name, "axes": [_describe_axis(axis) for axis in axes], "datasets": datasets, "type": method}
    return {"version": VERSION, "multiscales": [multiscale]}


def _place_level(finest: Grid, level: Grid, axes: int) -> list[dict[str, Any]]:
    # OME-Zarr places the centre of a pixel: that of a coarse one lies between those of the fine ones it covers.
    shift = (level.mpp - finest.mpp) / 2
    channel = axes - 2
    return [
        {"type": "scale", "scale": [1.0] * channel + [level.mpp] * 2},
        {"type": "translation", "translation": [0.0] * channel + [shift] * 2},
    ]


def _describe_axis(name: str) -> dict[str, str]:
    return {"name": name, "type": "channel"} if name == "c" else {"name": name, "type": "space", "unit": "micrometer"}


def _describe_channel(target: Target) -> dict[str, Any]:
    red, green, blue = target.color
    return {
        "label": target.name,
        "color": f"{red:02X}{green:02X}{blue:02X}",
        "window": {"min": 0, "max": 255, "start": 0, "end": 255},
        "active": True,
    }

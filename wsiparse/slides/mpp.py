"""Where a slide's µm per pixel comes from: stated by a person or by the file, never guessed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from wsiparse.errors import MppError
from wsiparse.slides.ome import read_ome_pixels

PLAUSIBLE_MPP = (0.05, 20.0)
"""Finest and coarsest µm per pixel believed of a slide; a printer's 72 or 300 dots per inch lie outside."""

ANISOTROPY = 0.01
"""Largest relative difference of both axes that still counts as square pixels."""

_UM_PER_UNIT = {"inch": 25400.0, "centimeter": 10000.0}
_UM_PER_OME_UNIT = {"nm": 0.001, "µm": 1.0, "\N{GREEK SMALL LETTER MU}m": 1.0, "mm": 1000.0}
_DICOM_SPACING = "dicom.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing"


@dataclass(frozen=True)
class Scale:
    """µm per pixel along both axes as one source states it."""

    source: str
    x: float
    y: float

    @property
    def mpp(self) -> float:
        """Mean of both axes."""
        return (self.x + self.y) / 2

    @property
    def plausible(self) -> bool:
        """Whether a microscope slide can have it."""
        low, high = PLAUSIBLE_MPP
        return low <= min(self.x, self.y) and max(self.x, self.y) <= high

    @property
    def square(self) -> bool:
        """Whether both axes agree."""
        return abs(self.x - self.y) <= ANISOTROPY * max(self.x, self.y)


def choose_scale(name: str, given: float | None, stated: Iterable[Scale]) -> Scale:
    """The scale a person gave, else the first plausible one the file states.

    Raises MppError where there is none, where the given one is implausible, or where the axes differ.
    """
    if given is not None:
        return _check_given(name, Scale("manifest", given, given))
    scales = list(stated)
    chosen = next((scale for scale in scales if scale.plausible), None)
    if chosen is None:
        raise MppError(f"{name}: {_describe_absence(scales)}; add a column mpp to the manifest, or pass --mpp to a run")
    if not chosen.square:
        raise MppError(
            f"{name}: {chosen.source} states {chosen.x:g} × {chosen.y:g} µm per pixel, expected square pixels; "
            "resample the slide, or state the mpp to use in the manifest's column mpp, or with --mpp of a run"
        )
    return chosen


def read_scales(properties: Mapping[str, str]) -> Iterator[Scale]:
    """Scales among OpenSlide's properties, the most trusted first."""
    yield from _scale("openslide.mpp", properties.get("openslide.mpp-x"), properties.get("openslide.mpp-y"))
    unit = _UM_PER_UNIT.get(properties.get("tiff.ResolutionUnit", ""))
    if unit:
        for scale in _scale("tiff.resolution", properties.get("tiff.XResolution"), properties.get("tiff.YResolution")):
            yield Scale(scale.source, unit / scale.x, unit / scale.y)
    yield from _scale("aperio.MPP", properties.get("aperio.MPP"), properties.get("aperio.MPP"))
    # DICOM states millimetres, rows before columns.
    for scale in _scale("dicom", properties.get(f"{_DICOM_SPACING}[1]"), properties.get(f"{_DICOM_SPACING}[0]")):
        yield Scale(scale.source, scale.x * 1000, scale.y * 1000)
    yield from _read_ome(properties)


def _read_ome(properties: Mapping[str, str]) -> Iterator[Scale]:
    """Scales that OME-XML states of images as large as level 0."""
    shown = (properties.get(f"openslide.level[0].{side}") for side in ("width", "height"))
    for stated in read_ome_pixels(properties.get("tiff.ImageDescription", ""), *shown):
        unit = stated.get("PhysicalSizeXUnit", "µm")
        across, down = map(_UM_PER_OME_UNIT.get, (unit, stated.get("PhysicalSizeYUnit", unit)))
        if across and down:
            scales = _scale("ome.PhysicalSize", stated.get("PhysicalSizeX"), stated.get("PhysicalSizeY"))
            yield from (Scale(scale.source, scale.x * across, scale.y * down) for scale in scales)


def _scale(source: str, x: str | None, y: str | None) -> Iterator[Scale]:
    try:
        scale = Scale(source, float(x or ""), float(y or ""))
    except ValueError:
        return
    if min(scale.x, scale.y) > 0 and math.isfinite(scale.x + scale.y):
        yield scale


def _check_given(name: str, scale: Scale) -> Scale:
    if not scale.plausible:
        raise MppError(
            f"{name}: mpp {scale.x:g} was given, expected {PLAUSIBLE_MPP[0]} to {PLAUSIBLE_MPP[1]:g} µm per pixel; "
            "correct the manifest's column mpp, or --mpp of a run"
        )
    return scale


def _describe_absence(scales: list[Scale]) -> str:
    if not scales:
        return "the file states no µm per pixel"
    found = ", ".join(f"{scale.source} {scale.x:.4g} × {scale.y:.4g}" for scale in scales)
    return f"the µm per pixel in the file lie outside {PLAUSIBLE_MPP[0]} to {PLAUSIBLE_MPP[1]:g} ({found})"

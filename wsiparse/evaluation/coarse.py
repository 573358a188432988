"""Labels drawn coarsely around many small things: what was found inside them, after the BiomedParse paper's Fig. 5.

A pathologist who rings an area of tumour cells does not outline each cell, nor does every pixel inside belong to one.
Such a label says nothing of pixels outside it; inside, it says which target most of the findings should be.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RegionAgreement:
    """What was found inside the coarse labels of one target, in pixels of its canvas: of a block, slide or cohort."""

    slide: str
    """Empty where several slides are added up."""
    target: str
    area: int
    """Pixels inside the labels."""
    found: int
    """Those of them that are any target of the group."""
    agreeing: int
    """Those of them that are the label's target."""

    def __add__(self, other: RegionAgreement) -> RegionAgreement:
        sums = (self.area + other.area, self.found + other.found, self.agreeing + other.agreeing)
        return RegionAgreement(self.slide, self.target, *sums)

    @property
    def agreement(self) -> float:
        """Share of the findings that are the label's target; nan where nothing was found."""
        return self.agreeing / self.found if self.found else float("nan")

    @property
    def coverage(self) -> float:
        """Share of the labelled area that is the label's target; nan without an area."""
        return self.agreeing / self.area if self.area else float("nan")


def count_agreement_within(
    labels: NDArray[np.unsignedinteger[Any]], code: int, inside: NDArray[np.bool_]
) -> tuple[int, int, int]:
    """Area, findings and agreeing findings of one target among codes [h, w] inside its labels [h, w]."""
    findings = labels[inside]
    return len(findings), int(np.count_nonzero(findings)), int(np.count_nonzero(findings == code))


def pool_regions(regions: Iterable[RegionAgreement]) -> list[RegionAgreement]:
    """Each target over all slides, in the order in which targets come."""
    sums: dict[str, RegionAgreement] = {}
    for region in regions:
        known = sums.get(region.target)
        sums[region.target] = known + region if known else replace(region, slide="")
    return list(sums.values())

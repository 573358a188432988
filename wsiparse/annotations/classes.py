"""What the class names that pathologists use in QuPath mean for a comparison."""

from __future__ import annotations

import re

_ROI = re.compile(r"Region(?![A-Za-z])")


def is_roi(name: str) -> bool:
    """True for `Region`, `Region*`, `Region 2` …: a frame inside which everything was annotated, not a finding.

    A longer word that merely begins so (`Regional metastasis`) is a finding.
    """
    return _ROI.match(name) is not None


def is_ignored(name: str) -> bool:
    """True where QuPath's rule leaves an object out: no class, or a class whose name ends in `*`.

    Pixels under such an object are neither right nor wrong. `Region*` is a frame (see `is_roi`), hence not ignored.
    """
    return (not name or name.endswith("*")) and not is_roi(name)

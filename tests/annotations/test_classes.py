from __future__ import annotations

import pytest

from wsiparse.annotations.classes import is_ignored, is_roi


@pytest.mark.parametrize("name", ["", "Ignore*", "Tumor: Positive*", "Artefact*", "*"])
def test_classes_that_qupath_ignores(name: str) -> None:
    assert is_ignored(name)
    assert not is_roi(name)


@pytest.mark.parametrize("name", ["Region", "Region*", "Region 2", "Region_3", "Region: left"])
def test_frames(name: str) -> None:
    assert is_roi(name)
    assert not is_ignored(name)


@pytest.mark.parametrize("name", ["Tumor", "Stroma: Positive", "region", "Regional metastasis", "*star"])
def test_findings(name: str) -> None:
    assert not is_roi(name)
    assert not is_ignored(name)

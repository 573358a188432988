"""Real nuclei, merged where they touch, told apart again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from wsiparse.annotations.splitting import Splitting, split_objects

Ids = NDArray[np.int32]


def count_matches(found: Ids, expected: Ids) -> int:
    """Objects whose intersection over union is above a half: at most one can match another."""
    both = (found > 0) & (expected > 0)
    pairs, shared = np.unique(np.stack([found[both], expected[both]]), axis=1, return_counts=True)
    sizes = np.bincount(found.ravel())[pairs[0]] + np.bincount(expected.ravel())[pairs[1]] - shared
    return int((shared > sizes / 2).sum())


def score(results: list[tuple[Ids, Ids]]) -> float:
    """F1 of all objects of all images."""
    matches = sum(count_matches(found, expected) for found, expected in results)
    return 2 * matches / sum(len(np.unique(ids)) - 1 for result in results for ids in result)


@pytest.mark.shared_data
def test_merged_nuclei_of_monuseg_are_told_apart(shared_data: Path) -> None:
    truths = []
    for path in sorted((shared_data / "monuseg" / "train").glob("*_instances.png")):
        with Image.open(path) as image:
            truths.append(np.asarray(image)[::2, ::2].astype(np.int32))
    assert len(truths) == 13
    parts = [ndimage.label(truth > 0)[0].astype(np.int32) for truth in truths]
    mpp, sure = 2 * 0.2462, np.uint8(255)
    split = [split_objects(truth > 0, (truth > 0) * sure, mpp, Splitting()) for truth in truths]
    assert score(list(zip(parts, truths, strict=True))) < 0.83
    assert score(list(zip(split, truths, strict=True))) > 0.945

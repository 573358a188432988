from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsiparse.training.fibres import draw_fibres, lay_fibres

seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.sampled_from([32, 64, 192]))
@settings(deadline=None, max_examples=30)
def test_fibres_are_lit_tissue_and_follow_from_their_seed(seed: int, side: int) -> None:
    light = draw_fibres(side, np.random.default_rng(seed))
    assert light.shape == (3, side, side)
    assert 0 < light.min() <= light.max() <= 1
    assert light[1].mean() < 0.95  # eosin takes green
    assert light[1].std() > 0.01
    assert torch.equal(light, draw_fibres(side, np.random.default_rng(seed)))


def measure_stretch(light: torch.Tensor) -> float:
    """How much faster green changes in one direction than across it: the root of the structure tensor's ratio.

    The median of windows of 16 pixels, in which fibres hardly turn; 1 where there is no direction.
    """
    slopes = np.stack(np.gradient(light[1].numpy()))
    windows = [slopes[:, y : y + 16, x : x + 16].reshape(2, -1) for y in range(0, 64, 16) for x in range(0, 64, 16)]
    ends = np.array([np.linalg.eigvalsh(window @ window.T) for window in windows])
    return float(np.median(np.sqrt(ends[:, 1] / ends[:, 0])))


def test_fibres_are_longer_than_they_are_wide() -> None:
    stretches = [measure_stretch(draw_fibres(64, np.random.default_rng(seed))) for seed in range(40)]
    noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert np.median(stretches) > 2
    assert min(stretches) > measure_stretch(noise)


@given(seeds)
@settings(deadline=None, max_examples=30)
def test_fibres_hold_nothing_and_lie_where_they_may(seed: int) -> None:
    crops = torch.full((6, 5, 32, 32), 2.0)  # brighter than light: nothing of it is left where fibres are
    crops[:, 3:] = 1
    allowed = np.array([True, False, True, True, False, True])
    laid = lay_fibres(crops.clone(), allowed, np.random.default_rng(seed), 1.0)
    covered = laid[:, :3].amax(1, keepdim=True) <= 1
    assert torch.equal(laid[:, 3:] == 0, covered.expand(-1, 2, -1, -1))
    reached = covered.flatten(1).any(1).numpy()  # an edge may lie beyond a crop's corner
    assert not (reached & ~allowed).any()
    assert torch.equal(laid[~torch.from_numpy(allowed)], crops[1:3:2].expand(2, -1, -1, -1))


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.3, 15, 45)])
def test_a_share_of_the_crops_has_fibres(share: float, least: int, most: int) -> None:
    random = np.random.default_rng(3)
    crops = torch.full((100, 4, 16, 16), 2.0)
    laid = lay_fibres(crops.clone(), np.full(100, True), random, share)
    assert least <= int((laid != crops).flatten(1).any(1).sum()) <= most
    if not share:  # what is drawn later stays what it was without this change
        assert random.random() == np.random.default_rng(3).random()

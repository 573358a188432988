from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from wsiparse.evaluation.scores import Score
from wsiparse.training.losses import (
    BORDER_WEIGHT,
    RANK_SHARE,
    SMOOTH,
    Columns,
    compare_masks,
    measure_dice,
    rank_logits,
    score_batch,
    score_logits,
)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 3))
@settings(deadline=None, max_examples=40)
def test_dice_equals_a_count_over_known_pixels(seed: int, images: int, columns: int) -> None:
    random = np.random.default_rng(seed)
    predicted, truth = (random.random((images, columns, 6, 5)) < 0.4 for _ in range(2))
    known = random.random((images, columns)) < 0.7
    dice = measure_dice(*(torch.from_numpy(array).float() for array in (predicted, truth, known)))
    for k in range(columns):
        both = sum(int((predicted[n, k] & truth[n, k]).sum()) for n in range(images) if known[n, k])
        sizes = sum(int(predicted[n, k].sum() + truth[n, k].sum()) for n in range(images) if known[n, k])
        assert float(dice[k]) == pytest.approx((2 * both + SMOOTH) / (sizes + SMOOTH), rel=1e-5)


@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
@settings(deadline=None, max_examples=30)
def test_a_check_tells_the_dice_that_evaluation_tells(seed: int, images: int) -> None:
    random = np.random.default_rng(seed)
    predicted, truth = (random.random((images, 4, 6, 5)) < 0.3 for _ in range(2))
    predicted[:, 2:], truth[:, 2] = False, False
    known = np.ones((images, 4), np.bool_)
    known[:, 0] = False
    dice = compare_masks(*(torch.from_numpy(array).float() for array in (predicted, truth, known)))
    scored = Score("", "", *(int(mask[:, 1].sum()) for mask in (predicted & truth, predicted, truth)))
    assert dice[1] == pytest.approx(scored.dice)
    assert dice[0] is dice[2] is None
    assert dice[3] == (0 if truth[:, 3].any() else None)


def test_the_loss_is_cross_entropy_plus_dice() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2, 8, 8, generator=random)
    truth = (torch.rand(3, 2, 8, 8, generator=random) < 0.5).float()
    ones = torch.ones(3, 2)
    dice = measure_dice(logits.sigmoid(), truth, ones)
    expected = functional.binary_cross_entropy_with_logits(logits, truth) + (1 - dice).mean()
    assert torch.allclose(score_logits(logits, truth, ones, torch.full((2,), 0.5)), expected)


def test_what_is_unknown_teaches_nothing() -> None:
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    known = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    score_logits(logits, torch.zeros_like(logits), known, torch.ones(3)).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    taught = logits.grad.abs().sum((2, 3)) > 0
    assert torch.equal(taught, known > 0)


def test_ranking_is_cross_entropy_where_something_is_outlined() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, 8, generator=random)
    labels = torch.randint(-1, 3, (2, 8, 8), generator=random)
    truth = torch.stack([(labels == k).float() for k in range(3)], 1)
    assert torch.allclose(rank_logits(logits, truth), functional.cross_entropy(logits, labels, ignore_index=-1))
    assert rank_logits(logits, torch.zeros_like(truth)) == 0
    columns = Columns(torch.ones(4), ((1, 2, 3),))
    both = torch.cat([logits[:, :1], logits], 1), torch.cat([truth[:, :1], truth], 1), torch.ones(2, 4)
    expected = score_logits(*both, columns.weights) + RANK_SHARE * rank_logits(logits, truth)
    assert torch.allclose(score_batch(*both, columns), expected)


def test_where_objects_touch_their_interiors_count_more() -> None:
    truth = torch.zeros(2, 2, 8, 8)
    truth[:, 0, :, 2:6] = 1
    truth[:, 1] = truth[:, 0]
    truth[:, 1, :, 3] = 0
    known = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    logits = torch.zeros(2, 2, 8, 8)
    gradients = []
    for parted in ((), ((0, 1),)):
        asked = logits.clone().requires_grad_()
        score_batch(asked, truth, known, Columns(torch.ones(2), (), parted)).backward()  # type: ignore[no-untyped-call]
        assert asked.grad is not None
        gradients.append(asked.grad)
    plain, parting = gradients
    # Cross-entropy pulls a pixel of no opinion by half its share; Dice does as before.
    more = 0.5 / 64 * (BORDER_WEIGHT - 1)
    assert torch.allclose(parting[0, 1, :, 3] - plain[0, 1, :, 3], torch.full((8,), more))
    parting[0, 1, :, 3] = plain[0, 1, :, 3]
    assert torch.equal(parting, plain)


def test_nothing_known_is_no_loss() -> None:
    logits = torch.randn(2, 3, 8, 8)
    assert score_logits(logits, torch.zeros_like(logits), torch.zeros(2, 3), torch.ones(3)) == 0


def test_a_right_answer_costs_little_and_a_wrong_one_much() -> None:
    truth = (torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    logits = (truth - 0.5) * 40
    ones = torch.ones(2, 1)
    assert score_logits(logits, truth, ones, torch.ones(1)) < 0.01
    assert score_logits(-logits, truth, ones, torch.ones(1)) > 2

"""What training minimises."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

SMOOTH = 100.0
"""Pixels added to both sides of the Dice ratio, so that a rare target's few pixels do not swing it."""


BORDER_WEIGHT = 8.0
"""How many times a pixel counts where two objects touch, for those learned apart: these few are what it is for."""
RANK_SHARE = 0.25
"""Weight of `rank_logits`, whose gradient would else be louder than that of the outlines."""


@dataclass(frozen=True)
class Columns:
    """What the loss must know of the columns of a batch."""

    weights: Tensor
    """Share [K] of each in the loss."""
    exclusive: tuple[tuple[int, ...], ...]
    """Columns of each group in which targets exclude each other."""
    parted: tuple[tuple[int, int], ...] = ()
    """Column of a target, and that of its objects less where they touch."""


def score_batch(logits: Tensor, truth: Tensor, known: Tensor, columns: Columns) -> Tensor:
    """What is minimised, a scalar: `score_logits`, and `rank_logits` of every exclusive group."""
    ranks = [rank_logits(logits[:, list(group)], truth[:, list(group)]) for group in columns.exclusive]
    stress = _stress_borders(truth, known, columns.parted) if columns.parted else 1.0
    return score_logits(logits, truth, known, columns.weights, stress) + RANK_SHARE * sum(ranks)


def _stress_borders(truth: Tensor, known: Tensor, parted: tuple[tuple[int, int], ...]) -> Tensor:
    """How many times each pixel counts [N, K, H, W]: more where objects that are learned apart touch."""
    stress = torch.ones_like(truth)
    for whole, apart in parted:
        stress[:, apart] += (BORDER_WEIGHT - 1) * (truth[:, whole] - truth[:, apart]) * known[:, apart, None, None]
    return stress


def rank_logits(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy between the targets of one group [N, G, H, W] over the pixels that one of them outlines, a scalar.

    It parts a target from its neighbours where the background, easily told apart, would drown the difference.
    """
    right = (logits.log_softmax(1) * truth).sum()
    return -right / truth.sum().clamp(min=1)


def score_logits(logits: Tensor, truth: Tensor, known: Tensor, weights: Tensor, stress: Tensor | float = 1.0) -> Tensor:
    """Weighted sum over columns of cross-entropy + soft Dice loss (Milletari et al. 2016), a scalar.

    Logits and truth are [N, K, H, W], known [N, K] is 1 where an example says anything about a column, weights are
    [K]. A column that nothing in the batch is known about adds nothing. `stress` [N, K, H, W] is how many times a
    pixel counts in the cross-entropy, much as Ronneberger et al. 2015 weigh what lies between cells.
    """
    predicted = logits.sigmoid()
    entropy = ((functional.softplus(logits) - logits * truth) * stress).mean((2, 3))  # [N, K]
    seen = known.sum(0)  # [K]
    losses = (entropy * known).sum(0) / seen.clamp(min=1) + 1 - measure_dice(predicted, truth, known)
    return (losses * weights * (seen > 0)).sum()


def measure_dice(predicted: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Smoothed Dice [K] of the pixels of all known examples taken together; soft where the prediction is."""
    both, either = _count_pixels(predicted, truth, known)
    return (2 * both + SMOOTH) / (either + SMOOTH)


def compare_masks(predicted: Tensor, truth: Tensor, known: Tensor) -> list[float | None]:
    """Dice of each column as `wsiparse evaluate` has it; None where no example knows or neither has a pixel."""
    both, either = _count_pixels(predicted.double(), truth, known)
    return [2 * float(b) / float(e) if e else None for b, e in zip(both, either, strict=True)]


def _count_pixels(predicted: Tensor, truth: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels [K] that prediction and truth share, and those of both together, in the known examples."""
    both = ((predicted * truth).sum((2, 3)) * known).sum(0)
    either = ((predicted.sum((2, 3)) + truth.sum((2, 3))) * known).sum(0)
    return both, either

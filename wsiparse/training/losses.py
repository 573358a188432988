"""What training minimises."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

SMOOTH = 100.0
"""Pixels added to both sides of the Dice ratio, so that a rare target's few pixels do not swing it."""


def score_logits(logits: Tensor, truth: Tensor, known: Tensor, weights: Tensor) -> Tensor:
    """Mean over columns of cross-entropy + soft Dice loss (Milletari et al. 2016), a scalar.

    Logits and truth are [N, K, H, W], known [N, K] is 1 where an example says anything about a column, weights are
    [K]. A column that nothing in the batch is known about adds nothing.
    """
    predicted = logits.sigmoid()
    entropy = (functional.softplus(logits) - logits * truth).mean((2, 3))  # [N, K]
    seen = known.sum(0)  # [K]
    losses = (entropy * known).sum(0) / seen.clamp(min=1) + 1 - measure_dice(predicted, truth, known)
    weights = weights * (seen > 0)
    return (losses * weights).sum() / weights.sum().clamp(min=1e-6)


def measure_dice(predicted: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Smoothed Dice [K] of the pixels of all known examples taken together; soft where the prediction is."""
    both = ((predicted * truth).sum((2, 3)) * known).sum(0)
    either = ((predicted.sum((2, 3)) + truth.sum((2, 3))) * known).sum(0)
    return (2 * both + SMOOTH) / (either + SMOOTH)

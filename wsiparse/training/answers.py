"""What a network says of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wsiparse.models.devices import multiplies_bfloat16
from wsiparse.ontology import Ontology
from wsiparse.training.batches import ABSENT_COLUMNS, Batch, take_images

CHECKED_AT_ONCE = 16
"""Pictures of a check in one forward pass."""
UNASKED = -30.0
"""Logit of a hidden pixel: so sure that it is nothing that neither the loss nor the Dice moves."""


def predict_logits(network: nn.Module, batch: Batch) -> Tensor:
    """Logits [N, K, H, W] in float32, of which those of hidden pixels are fixed."""
    device = next(network.parameters()).device
    images = batch.images.to(device, memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16, enabled=multiplies_bfloat16(device)):
        logits: Tensor = network(images, batch.tokens.to(device), batch.mpp)
    # Nothing is learned where nothing is known: there the answer is the right one, and flat.
    return logits.float().masked_fill(batch.hidden.to(device), UNASKED)


@torch.inference_mode()
def predict_batch(network: nn.Module, batch: Batch, ontology: Ontology) -> Tensor:
    """What a network finds [N, K, H, W], 0 or 1, each target at its threshold."""
    parts = [take_images(batch, slice(n, n + CHECKED_AT_ONCE)) for n in range(0, len(batch.images), CHECKED_AT_ONCE)]
    logits = torch.cat([predict_logits(network.eval(), part).cpu() for part in parts])
    thresholds = torch.tensor([*(t.threshold for t in ontology.targets), *[0.5] * ABSENT_COLUMNS])
    return (logits.sigmoid() >= thresholds[:, None, None]).float()

"""A wider network answers at first as the one it was made of, and all of it learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from wsiparse.errors import InputError
from wsiparse.models.open_network import OpenNetwork, Sizes
from wsiparse.training.widening import widen_network

SMALL = Sizes(channels=(8, 16), blocks=(1, 1), embedding=8, text_width=16, text_heads=2, buckets=64)
WIDE = replace(SMALL, channels=(12, 16))
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TOKENS = torch.tensor([[[3, 5], [7, 0]], [[9, 0], [0, 0]]])


def settle(network: OpenNetwork) -> OpenNetwork:
    """With norms that do something, as after some learning."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features)
            module.running_var = torch.rand(module.num_features) + 0.5
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias)
    return network


@pytest.mark.parametrize("training", [False, True])
def test_a_wider_network_answers_as_before(training: bool) -> None:
    network = settle(OpenNetwork(SMALL)).train(training)
    wider = widen_network(network, WIDE).train(training)
    assert wider.sizes == WIDE
    torch.testing.assert_close(wider(IMAGES, TOKENS), network(IMAGES, TOKENS))


def test_new_channels_learn_from_the_first_steps_on() -> None:
    torch.manual_seed(2)
    wider = widen_network(settle(OpenNetwork(SMALL)), WIDE)
    before = {name: tensor.clone() for name, tensor in wider.image.named_parameters()}
    optimizer = torch.optim.SGD(wider.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        wider(IMAGES, TOKENS).square().mean().backward()
        optimizer.step()
    for name, tensor in wider.image.named_parameters():
        if name.startswith(("stem", "levels.0", "merges.0")) and tensor.ndim == 4:
            assert (tensor != before[name])[8:].any(), name
    assert (wider.image.head.weight != 0)[:, 8:].any()


@pytest.mark.parametrize(
    "sizes",
    [
        replace(SMALL, channels=(8, 12)),
        replace(WIDE, embedding=9),
        replace(SMALL, channels=(8, 16, 16), blocks=(1, 1, 1)),
    ],
)
def test_other_sizes_are_refused(sizes: Sizes) -> None:
    with pytest.raises(InputError, match="widen channels alone"):
        widen_network(OpenNetwork(SMALL), sizes)

"""The network of all contenders: two convolutions, so that all else shows. Needs torch alone, for peers import it."""

from __future__ import annotations

import torch
from torch import Tensor

TARGETS = 6
STRIDE = 8
TILE = 1024
OVERLAP = 64


class TinyNetwork(torch.nn.Module):
    """Stride-8 features, six targets, softmax; weights of seed 0."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv2d(3, 8, STRIDE, STRIDE)
        self.second = torch.nn.Conv2d(8, TARGETS, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Probabilities float32 [N, 6, H / 8, W / 8] of uint8 pixels [N, H, W, 3]."""
        values = pixels.permute(0, 3, 1, 2).float().div_(255)
        return torch.softmax(self.second(torch.relu(self.first(values))), 1)

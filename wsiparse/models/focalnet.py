"""FocalNet: the image backbone, which mixes neighbours by gated depthwise convolutions in place of attention.

Focal modulation networks, Yang et al. 2022, in the form with layer norm after each branch and learnt branch scales.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class FocalNet(nn.Module):
    """Four stages, each half as fine and twice as wide as the one before."""

    def __init__(self, width: int, depths: Sequence[int], kernels: Sequence[int]) -> None:
        super().__init__()
        widths = [width * 2**stage for stage in range(len(depths))]
        self.patch_embed = PatchEmbedding(nn.Conv2d(3, width, 7, stride=4, padding=2))
        self.layers = nn.ModuleList(Stage(*sizes, kernels) for sizes in zip(widths, depths, strict=True))
        for stage, (before, after) in zip(self.layers[:-1], itertools.pairwise(widths), strict=True):
            stage.add_module("downsample", PatchEmbedding(nn.Conv2d(before, after, 3, stride=2, padding=1)))
        for i, channels in enumerate(widths):
            self.add_module(f"norm{i}", nn.LayerNorm(channels))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps of an image [N, 3, H, W], finest first: [N, width · 2^i, H/(4 · 2^i), W/(4 · 2^i)]."""
        maps = []
        x = self.patch_embed(x)  # [N, H/4, W/4, width]
        for i, stage in enumerate(self.layers):
            x = stage(x)
            maps.append(self.get_submodule(f"norm{i}")(x).permute(0, 3, 1, 2))
            if i + 1 < len(self.layers):
                x = stage.get_submodule("downsample")(x.permute(0, 3, 1, 2))
        return maps


class PatchEmbedding(nn.Module):
    """A strided convolution that shrinks a map [N, C, H, W] to normalised [N, H/stride, W/stride, channels]."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.proj = convolution
        self.norm = nn.LayerNorm(convolution.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Shrink and normalise a map."""
        shrunk: Tensor = self.norm(self.proj(x).permute(0, 2, 3, 1))
        return shrunk


class Stage(nn.Module):
    """Focal blocks at one resolution."""

    def __init__(self, width: int, depth: int, kernels: Sequence[int]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(FocalBlock(width, kernels) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        """Apply all blocks to [N, H, W, C]."""
        for block in self.blocks:
            x = block(x)
        return x


class FocalBlock(nn.Module):
    """Focal modulation, then a perceptron; each branch is normalised after it and scaled before it is added."""

    def __init__(self, width: int, kernels: Sequence[int]) -> None:
        super().__init__()
        self.modulation = FocalModulation(width, kernels)
        self.norm1 = nn.LayerNorm(width)
        self.mlp = Perceptron(width, 4 * width)
        self.norm2 = nn.LayerNorm(width)
        self.gamma_1 = nn.Parameter(torch.full((width,), 1e-4))
        self.gamma_2 = nn.Parameter(torch.full((width,), 1e-4))

    def forward(self, x: Tensor) -> Tensor:
        """Apply both branches to [N, H, W, C]."""
        x = x + self.gamma_1 * self.norm1(self.modulation(x))
        y: Tensor = x + self.gamma_2 * self.norm2(self.mlp(x))
        return y


class Perceptron(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to each place of [N, H, W, C] by itself."""
        y: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return y


class FocalModulation(nn.Module):
    """Multiplies each place by a gated sum of its surroundings, seen at ever larger reach."""

    def __init__(self, width: int, kernels: Sequence[int]) -> None:
        super().__init__()
        self.width, self.levels = width, len(kernels)
        self.f = nn.Linear(width, 2 * width + self.levels + 1)
        self.focal_layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width, bias=False))
            for kernel in kernels
        )
        self.h = nn.Conv2d(width, width, 1)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Modulate [N, H, W, C]."""
        parts = self.f(x).permute(0, 3, 1, 2)  # [N, 2C + levels + 1, H, W]
        query, context, gates = parts.split([self.width, self.width, self.levels + 1], 1)
        modulated = query * self.h(self._gather(context, gates))
        y: Tensor = self.proj(modulated.permute(0, 2, 3, 1))
        return y

    def _gather(self, context: Tensor, gates: Tensor) -> Tensor:
        """The mean over all reaches of the surroundings, the whole map being the last reach."""
        total = torch.zeros_like(context)
        for level, layer in enumerate(self.focal_layers):
            context = functional.gelu(layer(context))
            total = total + context * gates[:, level : level + 1]
        whole = functional.gelu(context.mean((2, 3), keepdim=True))
        return (total + whole * gates[:, self.levels :]) / (self.levels + 1)

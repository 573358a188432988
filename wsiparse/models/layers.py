"""Parts that more than one network of BiomedParse is made of."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head attention, batch first; parameters are named and laid out as in `torch.nn.MultiheadAttention`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, attended: Tensor | None = None) -> Tensor:
        """Attend from `query` [B, Q, C] to `key` and `value` [B, S, C] where `attended` (None: everywhere) is true.

        `attended` is boolean and broadcasts to [B, heads, Q, S]; a query that may attend to nothing is undefined.
        """
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        inputs = zip((query, key, value), weights, biases, strict=True)
        q, k, v = (self._split(functional.linear(*parts)) for parts in inputs)  # [B, heads, Q or S, C/heads]
        mixed = functional.scaled_dot_product_attention(q, k, v, attended)
        joined: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return joined

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


def encode_positions(x: Tensor) -> Tensor:
    """Sine position codes [1, H · W, C] of the places of a map [N, C, H, W], rows in the first half of the channels.

    Positions run from 0 to 2π over the map and wavelengths are geometric up to 10000, as in DETR (Carion et al. 2020).
    """
    _, channels, height, width = x.shape
    half = channels // 2
    precise = torch.promote_types(x.dtype, torch.float32)  # half precision cannot tell neighbouring places apart
    steps = torch.arange(half, dtype=precise, device=x.device)
    wavelengths = 10000.0 ** (2 * torch.div(steps, 2, rounding_mode="floor") / half)
    rows, columns = (_code_axis(size, wavelengths) for size in (height, width))
    rows = rows[:, None].expand(height, width, half)
    columns = columns[None].expand(height, width, half)
    return torch.cat([rows, columns], 2).flatten(0, 1)[None]


def _code_axis(size: int, wavelengths: Tensor) -> Tensor:
    places = torch.arange(1, size + 1, dtype=wavelengths.dtype, device=wavelengths.device)
    angles = (places / (size + 1e-6) * 2 * math.pi)[:, None] / wavelengths  # [size, half]
    return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], 2).flatten(1)

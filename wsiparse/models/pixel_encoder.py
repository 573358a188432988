"""The pixel encoder: a transformer over the coarsest map, then a feature pyramid down to stride 4."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from wsiparse.models.layers import Attention, encode_positions


@dataclass(frozen=True)
class PixelFeatures:
    """What the decoder reads of an image; computed once, whatever the number of prompts."""

    pyramid: tuple[Tensor, ...]
    """Maps of stride 32, 16 and 8: [N, C, H/stride, W/stride]."""
    fine: Tensor
    """The map that mask embeddings are multiplied with: [N, C, H/4, W/4]."""


class PixelEncoder(nn.Module):
    """Brings the four maps of a backbone to one width and lets the coarse ones inform the fine ones."""

    def __init__(self, widths: Sequence[int], width: int, layers: Iterable[EncoderLayer]) -> None:
        """`widths` are those of the backbone's maps, finest first; `width` is the one they are all brought to."""
        super().__init__()
        self.input_proj = nn.Conv2d(widths[-1], width, 1)
        self.layers = nn.ModuleList(layers)
        for i, channels in enumerate(widths[:-1], 1):
            self.add_module(f"adapter_{i}", NormedConvolution(channels, width, 1))
        for i in range(1, len(widths) + 1):
            self.add_module(f"layer_{i}", NormedConvolution(width, width, 3))
        self.mask_features = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> PixelFeatures:
        """Features of the backbone's maps [N, C_i, H_i, W_i], finest first."""
        y = functional.relu(self.get_submodule(f"layer_{len(maps)}")(self.encode_coarsest(maps[-1])))
        pyramid = [y]
        for i in range(len(maps) - 1, 0, -1):
            lateral = self.get_submodule(f"adapter_{i}")(maps[i - 1])
            y = lateral + functional.interpolate(y, size=lateral.shape[-2:], mode="nearest")
            y = functional.relu(self.get_submodule(f"layer_{i}")(y))
            pyramid.append(y)
        return PixelFeatures(tuple(pyramid[:-1]), self.mask_features(y))

    def encode_coarsest(self, x: Tensor) -> Tensor:
        """The coarsest map after the transformer: [N, C, H/32, W/32]."""
        x = self.input_proj(x)
        places = encode_positions(x)
        tokens = x.flatten(2).transpose(1, 2)  # [N, H/32 · W/32, C]
        for layer in self.layers:
            tokens = layer(tokens, places)
        return tokens.transpose(1, 2).reshape(x.shape)


class EncoderLayer(nn.Module):
    """Self-attention with positions in query and key, then a feed-forward part; normalised after each."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        """Apply to tokens [N, S, C] at the places that the codes [1, S, C] tell."""
        placed = x + places
        x = self.norm1(x + self.self_attn(placed, placed, x))
        y: Tensor = self.norm2(x + self.linear2(functional.relu(self.linear1(x))))
        return y


class NormedConvolution(nn.Conv2d):
    """A convolution without bias that keeps the size, then group norm over 32 groups."""

    def __init__(self, channels_in: int, channels: int, kernel: int) -> None:
        super().__init__(channels_in, channels, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(32, channels)

    def forward(self, input: Tensor) -> Tensor:
        """Apply to a map [N, C, H, W]."""
        y: Tensor = self.norm(super().forward(input))
        return y

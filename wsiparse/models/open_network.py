"""The network of the open model: one image encoder, one text encoder, and a dot product between them.

The image is encoded once, whatever the number of prompts: logit(pixel, prompt) = ⟨pixel embedding, prompt embedding⟩ +
prompt bias. Everything is convolutional and normalises with stored statistics, so that a pixel's result depends on
its surroundings alone, never on the rest of its tile or batch.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Sizes:
    """Every number of the architecture; it travels in the header of the weights."""

    channels: tuple[int, ...] = (24, 48, 96, 160, 192)
    """Width of each level, from 1/2 resolution downwards; their count sets the stride."""
    blocks: tuple[int, ...] = (1, 1, 2, 2, 1)
    """Residual blocks of each encoder level; the decoder has one a level."""
    embedding: int = 32
    """Length of the pixel and prompt embeddings."""
    text_width: int = 96
    text_heads: int = 4
    buckets: int = 4096

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "blocks", tuple(self.blocks))

    @property
    def stride(self) -> int:
        """Height and width of an image must be multiples of it."""
        return int(2 ** len(self.channels))


class Folding(nn.Module):
    """Folds 2×2 pixels into channels, which halves the resolution of the costly layers and loses nothing.

    White becomes 0, so that the zeros around a tile look like empty glass.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Darkness in 0..1 [N, 12, H / 2, W / 2] of images [N, 3, H, W], uint8 or light in 0..1."""
        light = image if image.is_floating_point() else image.float().div_(255)
        return functional.pixel_unshuffle(1 - light, 2)


class Convolution(nn.Sequential):
    """3×3 convolution, its batch normalisation, a shortcut where there is one, and the nonlinearity."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Features at least 0; a shortcut has their shape."""
        found: Tensor = self[1](self[0](x))
        # In place: an array less to be made and read, at each of some thirty steps.
        return functional.relu(found if shortcut is None else found.add_(shortcut), inplace=True)


class ResidualBlock(nn.Module):
    """Two convolutions around a shortcut (He et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Convolution(width, width)
        self.second = Convolution(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same shape [N, C, H, W]."""
        features: Tensor = self.second(self.first(x), x)
        return features


class ImageEncoder(nn.Module):
    """A U-Net of residual blocks whose skips are added; pixels to features of each 2×2 of them.

    `head` makes of these features one embedding a pixel. Nobody calls it: `fold_prompts` draws it and the prompts
    together, so that the embeddings, by far the largest array there would be, are never made.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        widths = sizes.channels
        self.fold: nn.Module = Folding()
        self.stem = Convolution(12, widths[0])
        self.downs = nn.ModuleList(Convolution(a, b, 2) for a, b in itertools.pairwise(widths))
        self.levels = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width) for _ in range(count)))
            for width, count in zip(widths, sizes.blocks, strict=True)
        )
        self.ups = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths))
        self.merges = nn.ModuleList(ResidualBlock(width) for width in widths[:-1])
        self.head = nn.Conv2d(widths[0], 4 * sizes.embedding, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Features [N, C, H / 2, W / 2] of images [N, 3, H, W], uint8 or in 0..1; the stride divides H and W."""
        x = self.levels[0](self.stem(self.fold(image)))
        skips = [x]
        for index, down in enumerate(self.downs):
            x = self.levels[index + 1](down(x))
            skips.append(x)
        for index in reversed(range(len(self.ups))):
            x = functional.interpolate(self.ups[index](x), scale_factor=2.0, mode="bilinear", align_corners=False)
            x = self.merges[index](x.add_(skips[index]))
        features: Tensor = x
        return features


class TextEncoder(nn.Module):
    """One transformer layer over word vectors, pooled by attention; prompt tokens to an embedding and a bias."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.text_width
        self.pieces = nn.Embedding(sizes.buckets, width, padding_idx=0)
        self.layer = nn.TransformerEncoderLayer(
            width, sizes.text_heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.weight = nn.Linear(width, 1)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, sizes.embedding + 1))

    def forward(self, tokens: Tensor) -> Tensor:
        """Embedding, then bias, [P, E + 1] of tokens [P, WORDS, PIECES]; the order of the words does not matter."""
        known = tokens > 0  # [P, WORDS, PIECES]
        count = known.sum(-1, keepdim=True).clamp(min=1)
        words = self.pieces(tokens).sum(2) / count.sqrt()  # [P, WORDS, width]
        empty = ~known.any(-1)  # [P, WORDS]
        words = self.layer(words, src_key_padding_mask=empty)
        weights = self.weight(words).masked_fill(empty[..., None], -math.inf).softmax(1)
        prompts: Tensor = self.head((weights * words).sum(1))
        return prompts


class OpenNetwork(nn.Module):
    """Both encoders; `forward` is what training calls, inference keeps the prompt embeddings."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.image = ImageEncoder(sizes)
        self.text = TextEncoder(sizes)

    def forward(self, image: Tensor, tokens: Tensor) -> Tensor:
        """Logits [N, P, H, W] of images [N, 3, H, W] in 0..1 for the prompts' tokens [P, WORDS, PIECES]."""
        return match_prompts(self.image(image), *fold_prompts(self.text(tokens), self.image.head))


def fold_prompts(prompts: Tensor, head: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Kernel [4 P, C, 1, 1] and bias [4 P] that take features to the logits of 2×2 pixels for prompts [P, E + 1]."""
    assert head.bias is not None
    vectors, biases = prompts[:, :-1], prompts[:, -1:]
    parts = vectors.shape[1], 4, head.in_channels  # the head's channels: embedding, then pixel of the 2×2
    kernel = torch.einsum("pe,eqc->pqc", vectors, head.weight.view(parts))
    bias = torch.einsum("pe,eq->pq", vectors, head.bias.view(parts[:2])) + biases
    return kernel.reshape(-1, head.in_channels, 1, 1), bias.reshape(-1)


def match_prompts(features: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """Logits [N, P, H, W] of features [N, C, H / 2, W / 2] by what `fold_prompts` gave."""
    return functional.pixel_shuffle(functional.conv2d(features, kernel.to(features.dtype), bias.to(features.dtype)), 2)


def place_network(network: OpenNetwork, device: torch.device) -> OpenNetwork:
    """The network on a device, its kernels with channels last, as the fast convolutions want them."""
    network.image = network.image.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.to(device)


def mirror_edges(network: nn.Module, mirrored: bool) -> None:
    """Let convolutions find beyond an edge the mirror image of what lies inside it, or else zeros.

    Zeros are empty glass, which a small crop sees on every side; the middle of a large tile sees none.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and any(module.padding):
            module.padding_mode = "reflect" if mirrored else "zeros"


def fold_normalization(network: OpenNetwork) -> OpenNetwork:
    """The same network with every batch normalisation folded into the convolution before it; for inference only."""
    for module in network.modules():
        if isinstance(module, Convolution):
            convolution, norm = module[0], module[1]
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            module[0] = nn.utils.fuse_conv_bn_eval(convolution, norm)
            module[1] = nn.Identity()
    return network


def count_macs(network: OpenNetwork, side: int) -> int:
    """Multiply–accumulates of the image encoder's convolutions for one square image of `side` pixels."""
    counts: list[int] = []

    def add(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        counts.append(output.numel() * module.weight[0].numel())

    hooks = [m.register_forward_hook(add) for m in network.modules() if isinstance(m, nn.Conv2d)]
    with torch.inference_mode():
        network.image(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    return sum(counts)

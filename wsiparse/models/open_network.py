"""The network of the open model: one image encoder, one text encoder, and a dot product between them.

The image is encoded once, whatever the number of prompts: logit(pixel, prompt) = ⟨pixel embedding, prompt embedding⟩ +
prompt bias. Everything is convolutional and normalises with stored statistics, so that a pixel's result depends on
its surroundings alone, never on the rest of its tile or batch.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
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
    scales: tuple[float, ...] = ()
    """µm per pixel of the targets that each set of normalisations is for; where it is empty, one is for all."""

    def __post_init__(self) -> None:
        for name in ("channels", "blocks", "scales"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def stride(self) -> int:
        """Height and width of an image must be multiples of it."""
        return int(2 ** len(self.channels))

    def find_scale(self, mpp: float) -> int:
        """Which of the scales is nearest to µm per pixel, by their ratio; 0 where one set is for all."""
        return min(range(len(self.scales)), key=lambda n: abs(math.log(mpp / self.scales[n])), default=0)


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


class Norms(nn.ModuleList):
    """A batch normalisation for each scale, of which the one acts that was chosen last (Chang et al. 2019).

    What is usual among glands at 1.5 µm per pixel is not so among nuclei at 0.25.
    """

    chosen = 0

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same shape."""
        found: Tensor = self[self.chosen](x)
        return found


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
        self.sizes = replace(sizes, scales=())
        self.image = ImageEncoder(sizes)
        self.text = TextEncoder(sizes)
        self.part_scales(sizes.scales)

    def part_scales(self, scales: Sequence[float]) -> None:
        """Give a network that normalises all alike a set of normalisations for each scale, equal at first."""
        assert not self.sizes.scales
        self.sizes = replace(self.sizes, scales=tuple(scales))
        for module in _list_convolutions(self.image) if scales else ():
            module[1] = Norms(copy.deepcopy(module[1]) for _ in scales)

    def forward(self, image: Tensor, tokens: Tensor, mpp: Tensor) -> Tensor:
        """Logits [N, P, H, W] of images [N, 3, H, W] in 0..1 for the prompts' tokens [P, WORDS, PIECES].

        `mpp` [N] is the µm per pixel at which that is asked for which an image is shown.
        """
        return match_prompts(self._encode(image, mpp), *fold_prompts(self.text(tokens), self.image.head))

    def _encode(self, image: Tensor, mpp: Tensor) -> Tensor:
        """Features of images, those of each scale together."""
        scales = np.array([self.sizes.find_scale(one) for one in mpp.tolist()])
        order, parts = scales.argsort(kind="stable"), []
        for scale in np.unique(scales).tolist():
            choose_scale(self.image, scale)
            parts.append(self.image(image[torch.from_numpy(np.flatnonzero(scales == scale))]))
        return torch.cat(parts)[torch.from_numpy(order.argsort())]


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


def choose_scale(encoder: ImageEncoder, scale: int) -> None:
    """Have an encoder normalise by one of its sets from now on."""
    for module in encoder.modules():
        if isinstance(module, Norms):
            module.chosen = scale


def fold_normalization(encoder: ImageEncoder, scale: int) -> ImageEncoder:
    """A copy in which every convolution does what the batch normalisation behind it would; for inference only."""
    folded = copy.deepcopy(encoder).eval()
    for module in _list_convolutions(folded):
        convolution, norm = module[0], module[1]
        if isinstance(norm, Norms):
            norm = norm[scale]
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        module[0], module[1] = nn.utils.fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return folded


def _list_convolutions(encoder: ImageEncoder) -> list[Convolution]:
    return [module for module in encoder.modules() if isinstance(module, Convolution)]


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

"""The open model's encoder with fewer passes over memory; for processors, and for answering alone.

Each step beside the convolutions reads and writes all there is once more: in bfloat16 these steps take a processor
longer than the convolutions.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wsiparse.compiled import compile_loop
from wsiparse.models.devices import multiplies_bfloat16
from wsiparse.models.execution import Execution
from wsiparse.models.open_network import Convolution, Folding, ImageEncoder

_BITS = {torch.float32: torch.int32, torch.bfloat16: torch.int16}
"""What numpy, which does not know the second, is shown numbers as where they are only put in their places."""


class FusedFolding(nn.Module):
    """A `Folding` that looks up what each of 256 lights gives."""

    def __init__(self, kind: torch.dtype) -> None:
        super().__init__()
        lights = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).expand(-1, -1, 2, 2)
        self._darkness = Folding()(lights)[:, 0, 0, 0].to(kind)

    def forward(self, image: Tensor) -> Tensor:
        """What `Folding` gives of uint8 images, in the kind of the encoder."""
        count, _, height, width = image.shape
        folded = self._darkness.new_empty((count, height // 2, width // 2, 12))
        bits = _BITS[folded.dtype]
        fold_pixels(image.permute(0, 2, 3, 1).numpy(), self._darkness.view(bits).numpy(), folded.view(bits).numpy())
        found: Tensor = folded.permute(0, 3, 1, 2)
        return found


@compile_loop
def fold_pixels(pixels: NDArray[np.uint8], table: NDArray[Any], folded: NDArray[Any]) -> None:
    """What a table says of pixels [N, H, W, 3], into [N, H / 2, W / 2, 12]: by colour, row and column of the 2×2."""
    count, height, width, _ = folded.shape
    for n in range(count):
        for y in range(height):
            for x in range(width):
                for color in range(3):
                    for place in range(4):
                        seen = pixels[n, 2 * y + place // 2, 2 * x + place % 2, color]
                        folded[n, y, x, 4 * color + place] = table[seen]


class FusedConvolution(nn.Module):
    """A `Convolution` whose normalisation is folded, by the operations of oneDNN that torch's own compiler calls.

    In float32 its bytes are those of the steps one after another; in bfloat16 a sum is rounded once, not twice.
    """

    def __init__(self, convolution: nn.Conv2d, kind: torch.dtype) -> None:
        super().__init__()
        assert convolution.bias is not None
        self.weight = nn.Parameter(convolution.weight.to(kind), requires_grad=False)
        self.bias = nn.Parameter(convolution.bias.to(kind), requires_grad=False)
        self._layout = convolution.padding, convolution.stride, convolution.dilation, convolution.groups

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """What `Convolution` gives, in the kind of the weights; it takes the place of the shortcut."""
        operations, given = torch.ops.mkldnn, (x.to(self.weight.dtype), self.weight, self.bias, *self._layout)
        found: Tensor
        if shortcut is None:
            found = operations._convolution_pointwise(*given, "relu", [], "")
        else:
            found = operations._convolution_pointwise_.binary(shortcut, *given, "add", 1.0, "relu", [], "")
        return found


def can_fuse(execution: Execution) -> bool:
    """Whether an encoder may be fused where it runs: on processors, in what these multiply in, if torch can."""
    if execution.device.type != "cpu" or execution.options.compile or not _has_operations():
        return False
    return not execution.bfloat16 or multiplies_bfloat16(execution.device)


@functools.cache
def _has_operations() -> bool:
    """Whether this torch has oneDNN, and its operations as they are called here: it documents neither."""
    shown = torch.ones(1, 1, 4, 4)
    try:
        with torch.inference_mode(), torch.random.fork_rng([]):  # a seeded caller draws on as if nothing had been
            FusedConvolution(nn.Conv2d(1, 1, 3, padding=1), torch.float32)(shown, shown.clone())
    except (AttributeError, RuntimeError):
        return False
    return True


def fuse_encoder(encoder: ImageEncoder, kind: torch.dtype) -> None:
    """Replace the parts of an encoder whose normalisation is folded; all but its head is of one kind then.

    It takes images of uint8 alone from then on.
    """
    for module in list(encoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Convolution):
                convolution = child[0]
                assert isinstance(convolution, nn.Conv2d)
                setattr(module, name, FusedConvolution(convolution, kind))
    encoder.ups.to(kind)
    encoder.fold = FusedFolding(kind)

"""Convolutions that add a shortcut and rectify in the same pass over memory; for processors, and for answering alone.

Each step after a convolution reads and writes all of it once more: in bfloat16 these steps take a processor as long as
the convolutions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wsiparse.models.devices import multiplies_bfloat16
from wsiparse.models.execution import Execution
from wsiparse.models.open_network import Convolution, ImageEncoder


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
    """Whether an encoder may be fused where it runs: on processors, in what these multiply in, if torch has oneDNN."""
    if execution.device.type != "cpu" or execution.options.compile or not torch._C._has_mkldnn:
        return False
    return not execution.bfloat16 or multiplies_bfloat16(execution.device)


def fuse_convolutions(encoder: ImageEncoder, kind: torch.dtype) -> None:
    """Replace the convolutions of an encoder whose normalisation is folded; all but its head is of one kind then."""
    for module in list(encoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Convolution):
                convolution = child[0]
                assert isinstance(convolution, nn.Conv2d)
                setattr(module, name, FusedConvolution(convolution, kind))
    encoder.ups.to(kind)

"""The text encoder: a causal transformer over byte-pair tokens, as in CLIP (Radford et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from wsiparse.models.layers import Attention


class TextEncoder(nn.Module):
    """Token ids to token embeddings in the width that the mask decoder works in."""

    def __init__(self, vocabulary: tuple[int, int], width: int, projected: int, blocks: Iterable[TextBlock]) -> None:
        """`vocabulary` is how many tokens there are and how many of them a prompt may have."""
        super().__init__()
        tokens, context = vocabulary
        self.token_embedding = nn.Embedding(tokens, width)
        self.positional_embedding = nn.Parameter(torch.zeros(context, width))
        self.resblocks = nn.ModuleList(blocks)
        self.ln_final = TextNorm(width)
        self.lang_proj = nn.Parameter(torch.randn(width, projected) * width**-0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """Embeddings [P, T, projected] of token ids [P, T]; a token sees only those before it, never padding after."""
        length = ids.shape[1]
        x = self.token_embedding(ids) + self.positional_embedding[:length]
        causal = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        for block in self.resblocks:
            x = block(x, causal)
        projected: Tensor = self.ln_final(x) @ self.lang_proj
        return projected


class TextBlock(nn.Module):
    """Attention, then a perceptron; normalised before each."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = TextNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = TextNorm(width)
        self.mlp = TextPerceptron(width, 4 * width)

    def forward(self, x: Tensor, attended: Tensor) -> Tensor:
        """Apply to tokens [P, T, C], which attend where `attended` [T, T] is true."""
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, attended)
        y: Tensor = x + self.mlp(self.ln_2(x))
        return y


class TextPerceptron(nn.Module):
    """Two linear layers with the fast GELU x · σ(1.702 x) between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, hidden)
        self.c_proj = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to each token of [P, T, C] by itself."""
        hidden = self.c_fc(x)
        y: Tensor = self.c_proj(hidden * torch.sigmoid(1.702 * hidden))
        return y


class TextNorm(nn.LayerNorm):
    """Layer norm computed in float32 whatever the input, with the smaller epsilon the weights were trained with."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-12)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the last axis."""
        x = input.float()
        centred = x - x.mean(-1, keepdim=True)
        normed = centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * normed.to(input.dtype) + self.bias

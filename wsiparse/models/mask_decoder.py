"""The mask decoder: learnt queries look at the image where their own masks are, and talk with the words of a prompt.

Masked attention as in Mask2Former (Cheng et al. 2022), joint self-attention of queries and words as in SEEM (Zou et al.
2023). Prompts never see one another. Whatever does not depend on the prompt is computed once a tile: the memory of the
image, and the first look at it. Masks between the layers are made at the size they are needed at, for resampling and
the product with a query's embedding are both linear and so change places.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsiparse.models.layers import Attention, encode_positions
from wsiparse.models.pixel_encoder import PixelFeatures


@dataclass(frozen=True)
class PromptEmbeddings:
    """What the decoder reads of prompts; computed once, whatever the number of tiles."""

    tokens: Tensor
    """One embedding a token: [P, T, C]."""
    used: Tensor
    """Which tokens are not padding: boolean [P, T]."""
    sentences: Tensor
    """One embedding a prompt, of its end token: [P, C]."""


@dataclass(frozen=True)
class _Memory:
    """One level of the pyramid as the queries see it; S = h · w places."""

    keys: Tensor  # [N, S, C]
    values: Tensor  # [N, S, C]
    fine: Tensor  # [N, C, S], the fine map resampled to this level


class MaskDecoder(nn.Module):
    """Queries in, one mask and one class embedding per query out."""

    def __init__(self, width: int, queries: int, levels: int, layers: Iterable[DecoderLayer]) -> None:
        super().__init__()
        self.query_feat = nn.Embedding(queries, width)
        self.query_embed = nn.Embedding(queries, width)
        self.level_embed = nn.Embedding(levels, width)
        self.layers = nn.ModuleList(layers)
        self.decoder_norm = nn.LayerNorm(width)
        self.mask_embed = MaskPerceptron(width)
        self.class_embed = nn.Parameter(torch.randn(width, width) * width**-0.5)
        self.logit_scale = nn.Parameter(torch.ones([]))

    def forward(self, features: PixelFeatures, prompts: PromptEmbeddings) -> list[Tensor]:
        """Normalised queries [N, P, Q, C] before the first layer and after each; before the first, P is 1.

        Features are of N tiles; the result holds every prompt for every tile.
        """
        memories = [self._remember(features, level) for level in range(len(features.pyramid))]
        count = features.fine.shape[0]
        queries = self.query_feat.weight.expand(count, 1, -1, -1)
        tokens = prompts.tokens.expand(count, -1, -1, -1)
        stages: list[Tensor] = [self.decoder_norm(queries)]
        for i, layer in enumerate(cast("Iterable[DecoderLayer]", self.layers)):
            memory = memories[i % len(memories)]
            attended = self._find_attended(stages[-1], memory)
            queries = layer.look(queries, self.query_embed.weight, memory, attended)
            queries, tokens = layer.talk(queries, tokens, self.query_embed.weight, prompts)
            stages.append(self.decoder_norm(queries))
        return stages

    def embed_classes(self, queries: Tensor) -> Tensor:
        """Embeddings [..., C] of normalised queries, to be compared with those of texts."""
        return queries @ self.class_embed

    def compare(self, queries: Tensor, texts: Tensor) -> Tensor:
        """Scaled cosine [N, P, Q] between normalised queries [N, P, Q, C] and the text [P, C] of their own prompt."""
        classes = self.embed_classes(queries)
        cosine = (_unit(classes) * _unit(texts)[:, None]).sum(-1)
        return self.logit_scale.exp().clamp(max=100) * cosine

    def classify(self, queries: Tensor, texts: Tensor) -> Tensor:
        """Logits [..., classes] of normalised queries over the unit texts [classes, C] of the meta-object types."""
        return self.logit_scale.exp() * _unit(self.embed_classes(queries)) @ texts.T

    def draw_masks(self, queries: Tensor, fine: Tensor) -> Tensor:
        """Mask logits [N, P, Q, H/4, W/4] of normalised queries [N, P, Q, C] on the fine map [N, C, H/4, W/4]."""
        masks = _multiply(self.mask_embed(queries), fine.flatten(2))
        return masks.view(*masks.shape[:3], *fine.shape[-2:])

    def _remember(self, features: PixelFeatures, level: int) -> _Memory:
        coarse = features.pyramid[level]
        values = coarse.flatten(2).transpose(1, 2) + self.level_embed.weight[level]
        fine = functional.interpolate(features.fine, size=coarse.shape[-2:], mode="bilinear", align_corners=False)
        return _Memory(values + encode_positions(coarse), values, fine.flatten(2))

    def _find_attended(self, queries: Tensor, memory: _Memory) -> Tensor:
        """Where a query's present mask is, as boolean [N, P, Q, S]; everywhere if it is nowhere."""
        attended = _multiply(self.mask_embed(queries), memory.fine) >= 0
        return attended | ~attended.any(-1, keepdim=True)


class DecoderLayer(nn.Module):
    """Look at the image, talk with the prompt, think; normalised after each."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.cross_attention = Attention(width, heads)
        self.cross_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads)
        self.self_norm = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.feed_norm = nn.LayerNorm(width)

    def look(self, queries: Tensor, places: Tensor, memory: _Memory, attended: Tensor) -> Tensor:
        """Attend from queries [N, P, Q, C], at learnt places [Q, C], to the memory of their tile."""
        asked = (queries + places).flatten(1, 2)  # prompts stand in the row of queries, which do not see one another
        seen = self.cross_attention(asked, memory.keys, memory.values, attended.flatten(1, 2)[:, None])
        informed: Tensor = self.cross_norm(queries + seen.view(queries.shape))
        return informed

    def talk(self, queries: Tensor, tokens: Tensor, places: Tensor, prompts: PromptEmbeddings) -> tuple[Tensor, Tensor]:
        """Attend among the queries [N, P, Q, C] and tokens [N, P, T, C] of each prompt, then the feed-forward part."""
        count, size = tokens.shape[0], places.shape[0]
        queries = queries.expand(-1, tokens.shape[1], -1, -1)
        x = torch.cat([queries, tokens], 2).flatten(0, 1)  # [N · P, Q + T, C]
        place = torch.cat([places.expand(len(prompts.tokens), -1, -1), prompts.tokens], 1).repeat(count, 1, 1)
        attended = functional.pad(prompts.used, (size, 0), value=True).repeat(count, 1)[:, None, None]
        asked = x + place
        x = self.self_norm(x + self.self_attention(asked, asked, x, attended))
        x = self.feed_norm(x + self.linear2(functional.relu(self.linear1(x))))
        x = x.view(count, -1, *x.shape[1:])
        return x[:, :, :size], x[:, :, size:]


class MaskPerceptron(nn.Module):
    """Three linear layers from a query to the vector its mask is drawn with."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Apply to normalised queries [..., C]."""
        first, second, last = self.layers
        y: Tensor = last(functional.relu(second(functional.relu(first(x)))))
        return y


def _unit(x: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / (length + 1e-7)


def _multiply(embeddings: Tensor, fine: Tensor) -> Tensor:
    """Products [N, P, Q, S] of embeddings [N, P, Q, C] with the places of a map [N, C, S]."""
    return (embeddings.flatten(1, 2) @ fine).view(*embeddings.shape[:3], fine.shape[-1])

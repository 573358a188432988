"""The network of BiomedParse v1 put together: pixels and tokens in, one mask per prompt out (Zhao et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from wsiparse.models.focalnet import FocalNet
from wsiparse.models.mask_decoder import DecoderLayer, MaskDecoder, PromptEmbeddings
from wsiparse.models.pixel_encoder import EncoderLayer, PixelEncoder, PixelFeatures
from wsiparse.models.text_encoder import TextBlock, TextEncoder
from wsiparse.models.tokenizer import load_tokenizer

STRIDE = 32
"""Images are padded to a multiple of this."""
MEAN, DEVIATION = (
    np.array(color, np.float32).tolist() for color in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
)
"""Red, green and blue of the images that the backbone was trained on, 0..255, as float32 holds them."""


@dataclass(frozen=True)
class Sizes:
    """All sizes of the network; the defaults are those of the published weights."""

    backbone_width: int = 192
    backbone_depths: tuple[int, ...] = (2, 2, 18, 2)
    backbone_kernels: tuple[int, ...] = (3, 5, 7, 9)
    width: int = 512
    heads: int = 8
    hidden: int = 2048
    encoder_layers: int = 6
    decoder_layers: int = 9
    queries: int = 101
    text_width: int = 512
    text_heads: int = 8
    text_layers: int = 12
    vocabulary: int = 49408
    context: int = 77


class Network(nn.Module):
    """Encode images once, encode prompts once, then decode every prompt for every image."""

    def __init__(
        self, backbone: FocalNet, pixel_encoder: PixelEncoder, text_encoder: TextEncoder, mask_decoder: MaskDecoder
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pixel_encoder = pixel_encoder
        self.text_encoder = text_encoder
        self.mask_decoder = mask_decoder

    def forward(self, pixels: Tensor, ids: Tensor, used: Tensor) -> Tensor:
        """Mask logits [N, P, H/4, W/4] of pixels uint8 [N, H, W, 3] for prompts of token ids [P, T]."""
        return self.decode(self.encode_images(pixels), self.encode_prompts(ids, used))

    def look(self, pixels: Tensor, prompts: PromptEmbeddings) -> tuple[Tensor, Tensor]:
        """What answers each prompt in pixels uint8 [N, H, W, 3], [N, P, C], and the fine map [N, C, H/4, W/4]."""
        features = self.encode_images(pixels)
        return self.answer(features, prompts), features.fine

    def encode_images(self, pixels: Tensor) -> PixelFeatures:
        """Features of uint8 pixels [N, H, W, 3]; sides that are no multiple of 32 are padded right and below."""
        features: PixelFeatures = self.pixel_encoder(self.backbone(self._normalize(pixels)))
        return features

    def embed_texts(self, texts: Sequence[str]) -> PromptEmbeddings:
        """Embeddings of texts; those of a text do not depend on the others."""
        ids, used = (torch.from_numpy(array).to(self.device) for array in load_tokenizer().encode_all(texts))
        return self.encode_prompts(ids, used)

    def encode_prompts(self, ids: Tensor, used: Tensor) -> PromptEmbeddings:
        """Embeddings of token ids [P, T], of which `used` [P, T] tells those that are not padding."""
        tokens = self.text_encoder(ids)
        ends = used.sum(1) - 1
        return PromptEmbeddings(tokens, used, tokens[torch.arange(len(ids), device=ids.device), ends])

    def decode(self, features: PixelFeatures, prompts: PromptEmbeddings) -> Tensor:
        """Mask logits [N, P, H/4, W/4] of every prompt for every image."""
        queries = self.answer(features, prompts)
        return self.mask_decoder.draw_masks(queries[:, :, None], features.fine)[:, :, 0]

    def answer(self, features: PixelFeatures, prompts: PromptEmbeddings) -> Tensor:
        """For each prompt and image the normalised query that is nearest to the prompt's words: [N, P, C]."""
        queries: Tensor = self.mask_decoder(features, prompts)[-1]
        chosen = self.mask_decoder.compare(queries, prompts.sentences).argmax(2)
        return queries.take_along_dim(chosen[..., None, None], 2)[:, :, 0]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.mask_decoder.logit_scale.device

    def _normalize(self, pixels: Tensor) -> Tensor:
        colors = zip(pixels.to(self.mask_decoder.logit_scale.dtype).unbind(3), MEAN, DEVIATION, strict=True)
        image = torch.stack([(color - mean) / deviation for color, mean, deviation in colors], 1)
        height, width = image.shape[-2:]
        return functional.pad(image, (0, -width % STRIDE, 0, -height % STRIDE))


PUBLISHED = Sizes()
"""The sizes of the published weights."""


def build_biomedparse(sizes: Sizes = PUBLISHED) -> Network:
    """The network of given sizes with untrained weights; under `torch.device("meta")` it takes no memory."""
    s = sizes
    widths = [s.backbone_width * 2**i for i in range(len(s.backbone_depths))]
    return Network(
        FocalNet(s.backbone_width, s.backbone_depths, s.backbone_kernels),
        PixelEncoder(widths, s.width, (EncoderLayer(s.width, s.heads, s.hidden) for _ in range(s.encoder_layers))),
        TextEncoder(
            (s.vocabulary, s.context),
            s.text_width,
            s.width,
            (TextBlock(s.text_width, s.text_heads) for _ in range(s.text_layers)),
        ),
        MaskDecoder(
            s.width,
            s.queries,
            len(widths) - 1,
            (DecoderLayer(s.width, s.heads, s.hidden) for _ in range(s.decoder_layers)),
        ),
    ).eval()

"""Number for number: our network against what the official code computes, at reduced size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from tests.models.official import load_cases, load_golden
from wsiparse.models.mask_decoder import MaskDecoder, PromptEmbeddings
from wsiparse.models.meta_objects import embed_meta_objects
from wsiparse.models.network import Network
from wsiparse.models.pixel_encoder import PixelFeatures
from wsiparse.models.pixels import resize_pixels

CASES = ["one", "four", "pad"]
F64, F32 = 1e-9, 1e-3
TEXT = 4e-6
"""The official text encoder normalises in float32, also where all else is double: what lies within an error of double
precision of the middle between two floats is rounded otherwise by another processor, and a step of float32 follows."""


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def deviation(ours: Tensor, name: str) -> float:
    golden = load_golden()[name]
    assert ours.shape == golden.shape, name
    return float((ours.double() - golden.double()).abs().max())


def encode_case(network: Network, case: str) -> tuple[PixelFeatures, PromptEmbeddings]:
    image, prompts = load_cases()["cases"][case]
    return network.encode_images(load_golden()[f"image.{image}"][None]), network.embed_texts(prompts)


def encode_with_official_text(network: Network, case: str) -> tuple[PixelFeatures, PromptEmbeddings]:
    """Pixels as we encode them, and text as the official code does: what follows is double throughout."""
    features, text = encode_case(network, case)
    tokens = text.tokens.clone()
    tokens[text.used] = load_golden()[f"f64.{case}.grounding_tokens"][:, 0]
    return features, PromptEmbeddings(tokens, text.used, load_golden()[f"f64.{case}.grounding_class"])


def join(prompts: PromptEmbeddings) -> PromptEmbeddings:
    """Several prompts as the one sequence that the official call makes of them."""
    tokens = prompts.tokens[prompts.used][None]
    return PromptEmbeddings(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool), prompts.sentences)


def compare_all(decoder: MaskDecoder, queries: Tensor, prompts: PromptEmbeddings) -> Tensor:
    """Similarity [Q, P] of every query of a joint sequence with the sentence of every prompt."""
    return torch.stack([decoder.compare(queries, sentence[None])[0, 0] for sentence in prompts.sentences], 1)


def test_backbone_and_pixel_maps_f32(network_f32: Network) -> None:
    pixels = load_golden()["image.a"][None]
    maps = network_f32.backbone(network_f32._normalize(pixels))
    features = network_f32.pixel_encoder(maps)
    assert all(deviation(maps[i], f"f32.one.res{i + 2}") < F32 for i in range(4))
    assert deviation(network_f32.pixel_encoder.encode_coarsest(maps[-1]), "f32.one.transformer_encoder") < F32
    assert all(deviation(features.pyramid[i], f"f32.one.ms{i}") < F32 for i in range(3))
    assert deviation(features.fine, "f32.one.mask_features") < F32


def test_padding_f32(network_f32: Network) -> None:
    pixels = load_golden()["image.b"][None]
    coarsest = network_f32.backbone(network_f32._normalize(pixels))[-1]
    assert deviation(coarsest, "f32.pad.res5") < F32


@pytest.mark.parametrize("case", CASES)
def test_text_tokens_f64(network_f64: Network, case: str) -> None:
    prompts = network_f64.embed_texts(load_cases()["cases"][case][1])
    assert deviation(prompts.tokens[prompts.used][:, None], f"f64.{case}.grounding_tokens") < TEXT
    assert deviation(prompts.sentences, f"f64.{case}.grounding_class") < TEXT


@pytest.mark.parametrize("case", CASES)
def test_every_decoder_output_f64(network_f64: Network, case: str) -> None:
    decoder, name = network_f64.mask_decoder, f"f64.{case}."
    features, prompts = encode_with_official_text(network_f64, case)
    queries = decoder(features, join(prompts))[-1]
    similarity = compare_all(decoder, queries, prompts)
    assert deviation(decoder.embed_classes(queries)[0], name + "pred_captions") < F64
    assert deviation(decoder.mask_embed(queries)[0], name + "pred_maskembs") < F64
    assert deviation(decoder.draw_masks(queries, features.fine)[0], name + "pred_masks") < F64
    types = load_golden()["f64.class_text_embeddings"]
    assert deviation(decoder.classify(queries, types)[0], name + "pred_logits") < F64
    assert deviation(similarity, name + "sim") < F64
    assert similarity.argmax(0).tolist() == load_golden()[name + "matched_id"].tolist()


def test_every_decoder_stage_f64(network_f64: Network) -> None:
    stages = network_f64.mask_decoder(*encode_with_official_text(network_f64, "one"))
    for i, queries in enumerate(stages[:-1]):
        assert deviation(network_f64.mask_decoder.embed_classes(queries)[0], f"f64.one.aux{i}.pred_captions") < F64


@pytest.mark.parametrize("case", ["one", "pad"])
def test_probability_f64(network_f64: Network, case: str) -> None:
    """The official call stretches the mask of a padded image over the image, padding and all."""
    name = f"f64.{case}.prob"
    logits = network_f64.decode(*encode_with_official_text(network_f64, case))
    size = load_golden()[name].shape[-2:]
    drawn = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False).sigmoid()
    assert deviation(drawn[0], name) < F64


def test_meta_object_embeddings_f64(network_f64: Network) -> None:
    """All 81 wordings of the 17 types, tokenised here, give the official embeddings: so the wordings are the same."""
    assert deviation(embed_meta_objects(network_f64), "f64.class_text_embeddings") < TEXT


@pytest.mark.parametrize("case", ["four", "pad"])
def test_masks_f32(network_f32: Network, case: str) -> None:
    features, prompts = encode_case(network_f32, case)
    queries = network_f32.mask_decoder(features, join(prompts))[-1]
    assert deviation(network_f32.mask_decoder.draw_masks(queries, features.fine)[0], f"f64.{case}.pred_masks") < F32


def test_masks_f32_where_a_decision_lies_on_the_edge(
    network_f32: Network, network_f64: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One mask logit of case `one` is 2.6e-8, and its sign decides whether a query may look at a place.

    Float32 cannot tell which, whatever the code. With the decisions of float64 it must agree in everything else, and
    its own decisions may differ only where rounding decides.
    """
    decide = MaskDecoder._find_attended
    precise: list[Tensor] = []
    features, prompts = encode_case(network_f64, "one")

    def record(self: MaskDecoder, queries: Tensor, memory: object) -> Tensor:
        precise.append(decide(self, queries, memory))  # type: ignore[arg-type]
        return precise[-1]

    monkeypatch.setattr(MaskDecoder, "_find_attended", record)
    network_f64.mask_decoder(features, prompts)
    wanted, precise = precise, []
    replay = iter(wanted)
    monkeypatch.setattr(MaskDecoder, "_find_attended", lambda *_: next(replay))
    features, prompts = encode_case(network_f32, "one")
    queries = network_f32.mask_decoder(features, prompts)[-1]
    assert deviation(network_f32.mask_decoder.draw_masks(queries, features.fine)[0], "f64.one.pred_masks") < F32
    monkeypatch.setattr(MaskDecoder, "_find_attended", record)
    network_f32.mask_decoder(features, prompts)
    assert sum(int((a != b).sum()) for a, b in zip(precise, wanted, strict=True)) <= 1


def test_whole_call_on_an_image_of_another_size_f32(network_f32: Network) -> None:
    image = load_golden()["image.c"]
    resized = resize_pixels(image[None], 1024, 1024)
    features, prompts = (
        network_f32.encode_images(resized),
        network_f32.embed_texts(["neoplastic cells", "inflammatory cells"]),
    )
    queries = network_f32.mask_decoder(features, join(prompts))[-1]
    chosen = compare_all(network_f32.mask_decoder, queries, prompts).argmax(0)
    logits = network_f32.mask_decoder.draw_masks(queries[:, :, chosen], features.fine)[:, 0]
    drawn = functional.interpolate(logits, size=image.shape[:2], mode="bilinear", align_corners=False).sigmoid()
    assert deviation(drawn[0], "f32.infer_image.c.prob") < F32


def test_resized_pixels_are_those_of_the_official_call() -> None:
    resized = resize_pixels(load_golden()["image.c"][None], 1024, 1024)[0]
    assert deviation(resized[512], "infer_image.c.resized1024_row512") == 0
    pillow = Image.fromarray(load_golden()["image.c"].numpy()).resize((1024, 1024), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(resized.numpy(), np.asarray(pillow))


def test_a_prompt_is_answered_as_if_asked_alone(network_f64: Network) -> None:
    features, prompts = encode_case(network_f64, "four")
    together = network_f64.decode(features, prompts)
    texts = load_cases()["cases"]["four"][1]
    alone = torch.cat([network_f64.decode(features, network_f64.embed_texts([text])) for text in texts], 1)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_tiles_of_a_batch_do_not_touch_one_another(network_f64: Network) -> None:
    image = load_golden()["image.a"]
    prompts = network_f64.embed_texts(["neoplastic cells", "inflammatory cells"])
    tiles = torch.stack([image, image.flip(0), image.rot90(1, (0, 1))])
    together = network_f64.decode(network_f64.encode_images(tiles), prompts)
    alone = torch.cat([network_f64.decode(network_f64.encode_images(tile[None]), prompts) for tile in tiles])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-11)


def test_images_and_prompts_each_compile_to_one_graph(network_f32: Network) -> None:
    features, prompts = encode_case(network_f32, "one")
    encode, decode = (
        torch.compile(part, fullgraph=True, backend="aot_eager")
        for part in (network_f32.encode_images, network_f32.decode)
    )
    pixels = load_golden()["image.a"][None]
    torch.testing.assert_close(decode(encode(pixels), prompts), network_f32.decode(features, prompts))

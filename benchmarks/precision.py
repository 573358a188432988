"""How far is bfloat16 from float32?

    python -m benchmarks.precision

The network at the reduced size of the tests, on CPU, with the seeded weights and images whose outputs the official code
computed, asked for all prompts of those outputs. A map is what one prompt gives for one image; its mask is p ≥ 0.5.
Random weights are a hard case: the queries that may answer a prompt are all but tied, and where rounding chooses
another one, the whole mask is another one. Such maps are told apart from those of the same query.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.report import Row, print_table, write_result
from tests.models.official import load_cases, load_golden, load_reduced, write_official_weights
from wsiparse.models.network import Network

IMAGES = ("a", "b", "c")
Answers = list[tuple[int, Tensor]]
"""For each prompt the number of the query that answers it, and its probabilities [H/4, W/4]."""


def main() -> None:
    """Print and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        network = load_reduced(write_official_weights(Path(folder)), torch.float32)
    answers = [answer_all(network, bfloat16) for bfloat16 in (False, True)]
    pairs = [pair for images in zip(*answers, strict=True) for pair in zip(*images, strict=True)]
    maps = [(a, b) for (_, a), (_, b) in pairs]
    kept = [(a, b) for (query, a), (other, b) in pairs if query == other]
    rows = [describe("all", maps), describe("same query", kept)]
    print_table("bfloat16 against float32, reduced size", rows)
    print(write_result("precision", rows))


@torch.inference_mode()
def answer_all(network: Network, bfloat16: bool) -> list[Answers]:
    """The answers to all prompts, image by image."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        return [answer_image(network, load_golden()[f"image.{name}"]) for name in IMAGES]


def answer_image(network: Network, image: Tensor) -> Answers:
    """The answers to all prompts about one image."""
    features, prompts = network.encode_images(image[None]), network.embed_texts(load_cases()["texts"])
    queries = network.mask_decoder(features, prompts)[-1]
    chosen = network.mask_decoder.compare(queries, prompts.sentences).argmax(2)[0]
    probabilities = network.decode(features, prompts)[0].float().sigmoid()
    return list(zip(chosen.tolist(), probabilities, strict=True))


def describe(name: str, maps: list[tuple[Tensor, Tensor]]) -> Row:
    """Deviations of probabilities and agreement of masks over maps."""
    deviation = torch.cat([(a - b).abs().flatten() for a, b in maps])
    dice = torch.tensor([measure_dice(a >= 0.5, b >= 0.5) for a, b in maps])
    return {
        "maps": name,
        "count": len(maps),
        "mean_deviation": float(deviation.mean()),
        "p99_deviation": float(deviation.kthvalue(int(0.99 * deviation.numel())).values),
        "max_deviation": float(deviation.max()),
        "mean_dice": float(dice.mean()),
        "min_dice": float(dice.min()),
    }


def measure_dice(a: Tensor, b: Tensor) -> float:
    """Dice of two masks; 1 where both are empty."""
    total = int(a.sum() + b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


if __name__ == "__main__":
    main()

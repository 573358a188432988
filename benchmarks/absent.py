"""What does a tile save where BiomedParse says that there is no object, and its mask is not drawn?

    python -m benchmarks.absent

The decoder at its published size on one image of 1024², random weights and features: what it decides means nothing,
what it costs does. The class comes of a prompt's last query, so all of the decoder has run by then; saved is the
drawing of the mask alone, and paid is the comparison with the types. Seconds are those of the processor in one thread,
medians of turns.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.prompts import build_meta, count_flops, invent_prompts, take_turns
from benchmarks.report import Row, print_table, write_result
from wsiparse.models.meta_objects import META_OBJECTS
from wsiparse.models.network import PUBLISHED, Network
from wsiparse.models.pixel_encoder import PixelFeatures

PROMPTS = 4
TILE = 256


def main() -> None:
    """Print and write the table."""
    torch.set_num_threads(1)
    rows = measure_parts()
    print_table("One prompt for one image, published size", rows)
    print(write_result("absent", rows))


@torch.inference_mode()
def measure_parts() -> list[Row]:
    """Operations and seconds of each part, for one prompt."""
    torch.manual_seed(0)
    network = build_decoder()
    features, prompts = invent_features(), invent_prompts(PROMPTS, PUBLISHED.width)
    queries, types = network.answer(features, prompts), torch.randn(len(META_OBJECTS), PUBLISHED.width)
    parts: dict[str, Callable[[], object]] = {
        "decode": lambda: network.answer(features, prompts),
        "compare with the types": lambda: network.mask_decoder.classify(queries, types).softmax(-1),
        "draw the mask": lambda: draw(network, queries, features.fine),
    }
    seconds = dict(zip(parts, map(statistics.median, take_turns(*parts.values())), strict=True))
    tile = count_flops(1, PROMPTS)
    return [
        {
            "part": name,
            "gflop": count(part) / PROMPTS / 1e9,
            "seconds": seconds[name] / PROMPTS,
            "share_of_decoding": seconds[name] / seconds["decode"],
            f"share_of_tile_operations_{PROMPTS}_prompts": count(part) / PROMPTS / tile,
        }
        for name, part in parts.items()
    ]


def build_decoder() -> Network:
    """A network whose decoder alone has weights, seeded random ones."""
    network = build_meta(PUBLISHED)
    decoder = network.mask_decoder.to_empty(device="cpu")
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return network


def invent_features() -> PixelFeatures:
    """Random features of one image of 1024²."""
    maps = [torch.randn(1, PUBLISHED.width, side, side) for side in (32, 64, 128, 256)]
    return PixelFeatures(tuple(maps[:3]), maps[3])


def draw(network: Network, queries: Tensor, fine: Tensor) -> Tensor:
    """Quantised masks of a tile of 256 pixels."""
    masks = network.mask_decoder.draw_masks(queries[:, :, None], fine)[:, :, 0]
    masks = functional.interpolate(masks, size=(TILE, TILE), mode="bilinear", align_corners=False)
    return masks.sigmoid_().mul_(255).round_().to(torch.uint8)


def count(part: Callable[[], object]) -> float:
    """Operations of a part, for all prompts."""
    with FlopCounterMode(display=False) as counter:
        part()
    return float(counter.get_total_flops())


if __name__ == "__main__":
    main()

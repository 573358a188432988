"""What does one more prompt cost BiomedParse, and how many tiles a second does a GPU answer?

    python -m benchmarks.prompts                    operations, then seconds on CPU in two smaller sizes
    python -m benchmarks.prompts forward            one forward pass of the published size on CPU: seconds and memory
    python -m benchmarks.prompts gpu [PEAK_TFLOPS]  the published size on a GPU; PEAK_TFLOPS as the maker states it
                                                    for bfloat16 without sparsity (989 for an H100 or H200)

All weights are seeded random numbers: what a network computes does not change what it costs. "Each alone" calls the
network once a prompt, image and all, as the official code does; "together" encodes the image once. The texts, which a
run embeds once, are left out of both. Rivals take turns; seconds are medians, a ratio is the median of those of turns.
On CPU they are seconds of processor time in one thread, which do not follow what else the machine does. The smaller an
image, the larger is the share of a prompt in its cost, for what a prompt asks does not shrink with the image.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.report import Row, print_table, write_result
from wsiparse.models.biomedparse import BiomedParse, open_biomedparse
from wsiparse.models.checkpoint import rename_ours
from wsiparse.models.execution import Execution, ModelOptions
from wsiparse.models.mask_decoder import PromptEmbeddings
from wsiparse.models.network import PUBLISHED, Network, Sizes, build_biomedparse
from wsiparse.ontology import Target

REDUCED = Sizes(24, (1, 1, 2, 1), width=64, heads=4, hidden=128, encoder_layers=2, decoder_layers=4, queries=21)
MEDIUM = Sizes(64, (2, 2, 6, 2), width=192, heads=6, hidden=768, encoder_layers=3, queries=51, text_layers=2)
CPU_CASES = (("reduced", REDUCED, 512), ("medium", MEDIUM, 512))
PROMPTS = (1, 5, 20)
TOKENS = 8
TURNS = 3
QUICK = ModelOptions(precision="bfloat16", channels_last=True)
GRAPHS = dataclasses.replace(QUICK, compile="reduce-overhead")
GPU_EXECUTIONS = (
    ("eager float32", Execution(batch=4)),
    ("eager", Execution(batch=8, options=ModelOptions(precision="bfloat16"))),
    ("channels last", Execution(batch=8, options=QUICK)),
    ("compiled", Execution(batch=8, options=dataclasses.replace(QUICK, compile="default"))),
    ("compiled, CUDA graphs, tile by tile", Execution(batch=1, options=GRAPHS)),
    ("compiled, CUDA graphs", Execution(batch=8, options=GRAPHS)),
)
GPU_TILES = 64


def main(arguments: list[str]) -> None:
    """Measure what the command line asks for."""
    match arguments:
        case []:
            report("prompts_operations", "Operations, published size", count_operations())
            report("prompts", "Seconds on CPU", measure_cpu())
        case ["forward"]:
            report("biomedparse_forward", "One forward pass on CPU, published size", measure_forward())
        case ["gpu", *peak]:
            report("prompts_gpu", "Tiles on a GPU, published size", measure_gpu(float(peak[0]) if peak else None))
        case _:
            raise SystemExit(__doc__)


def report(name: str, title: str, rows: list[Row]) -> None:
    """Print rows and write them."""
    print_table(title, rows)
    print(write_result(name, rows))


def count_operations() -> list[Row]:
    """Floating-point operations of an image of 1024² and its prompts; a multiplication and its addition are two."""
    return [
        {
            "prompts": prompts,
            "together_gflop": count_flops(1, prompts) / 1e9,
            "each_alone_gflop": prompts * count_flops(1, 1) / 1e9,
            "together_to_one_prompt": count_flops(1, prompts) / count_flops(1, 1),
        }
        for prompts in PROMPTS
    ]


@functools.cache
def count_flops(tiles: int, prompts: int, side: int = 1024) -> float:
    """Operations of the published size on images of `side` pixels, counted on the meta device."""
    with torch.device("meta"):
        network = build_biomedparse().requires_grad_(False)
        pixels = torch.zeros(tiles, side, side, 3, dtype=torch.uint8)
        embedded = invent_prompts(prompts, PUBLISHED.width)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network.decode(network.encode_images(pixels), embedded)
    return float(counter.get_total_flops())


def measure_cpu() -> list[Row]:
    """Seconds of one image in the smaller sizes, by number of prompts."""
    torch.set_num_threads(1)
    return [row for name, sizes, side in CPU_CASES for row in measure_size(name, build_random(sizes), side)]


def measure_size(name: str, network: Network, side: int) -> list[Row]:
    """Seconds of one image in one size."""
    pixels = torch.randint(256, (1, side, side, 3), dtype=torch.uint8)
    width = network.mask_decoder.class_embed.shape[0]
    answer(network, pixels, invent_prompts(1, width))  # the first call is slower
    alone = 0.0
    rows: list[Row] = []
    for prompts in PROMPTS:
        embedded = invent_prompts(prompts, width)
        together, each = take_turns(
            functools.partial(answer, network, pixels, embedded),
            functools.partial(answer_each, network, pixels, embedded),
        )
        alone = alone or statistics.median(together)
        rows.append(
            {
                "size": name,
                "image": side,
                "prompts": prompts,
                "together_seconds": statistics.median(together),
                "each_alone_seconds": statistics.median(each),
                "each_alone_to_together": statistics.median(b / a for a, b in zip(together, each, strict=True)),
                "together_to_one_prompt": statistics.median(together) / alone,
            }
        )
    return rows


def measure_forward() -> list[Row]:
    """One tile and two prompts through the published size in float32, weights read from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_random(Path(folder), PUBLISHED)
        start = time.perf_counter()
        model = open_biomedparse(path)
        loaded = time.perf_counter()
        before = read_peak_gb()
        probabilities = model.predict(invent_tiles(1), invent_targets(2))
        return [
            {
                "parameters_million": sum(p.numel() for p in build_meta(PUBLISHED).parameters()) / 1e6,
                "threads": torch.get_num_threads(),
                "load_seconds": loaded - start,
                "forward_seconds": time.perf_counter() - loaded,
                "peak_gb_before": before,
                "peak_gb": read_peak_gb(),
                "mean_probability": float(probabilities.mean()) / 255,
            }
        ]


def read_peak_gb() -> float:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def measure_gpu(peak_tflops: float | None) -> list[Row]:
    """Tiles a second of whole predictions, uint8 pixels of the host in and uint8 probabilities of the host out."""
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device; this part needs one")
    attainable = measure_matrix_rate()
    with tempfile.TemporaryDirectory() as folder:
        path = write_random(Path(folder), PUBLISHED)
        cases = [(path, *case, prompts) for case, prompts in itertools.product(GPU_EXECUTIONS, PROMPTS)]
        # A process for each, so that nothing compiled, recorded or kept on the device is left of the one before.
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as alone:
            rows = list(alone.map(measure_execution, *zip(*cases, strict=True)))
    return [rate(row, peak_tflops, attainable) for row in rows]


def rate(row: dict[str, Any], peak_tflops: float | None, attainable: float) -> Row:
    """The same row with its shares of what the maker states and of what a large product attains."""
    share = row["tflops"] / peak_tflops if peak_tflops else None
    return {**row, "share_of_stated_peak": share, "share_of_measured_matrix_rate": row["tflops"] / attainable}


def measure_execution(path: Path, name: str, execution: Execution, prompts: int) -> dict[str, Any]:
    """Tiles a second of one way to run the network, and the memory of the device it takes."""
    model = open_biomedparse(path, dataclasses.replace(execution, device=torch.device("cuda")))
    tiles, targets = invent_tiles(GPU_TILES), invent_targets(prompts)
    start = time.perf_counter()
    predict(model, tiles[: execution.batch], targets)
    first = time.perf_counter() - start
    seconds = min(timed(lambda: predict(model, tiles, targets)) for _ in range(TURNS))
    return {
        "device": torch.cuda.get_device_name(),
        "execution": name,
        "batch": execution.batch,
        "prompts": prompts,
        "tiles_a_second": GPU_TILES / seconds,
        "tflops": count_flops(1, prompts) * GPU_TILES / seconds / 1e12,
        "memory_gb": torch.cuda.max_memory_allocated() / 1e9,
        "first_call_seconds": first,
    }


def measure_matrix_rate(side: int = 8192, products: int = 50) -> float:
    """TFLOP a second of large products of bfloat16 matrices: what this device attains at best."""
    a, b = (torch.randn(side, side, dtype=torch.bfloat16, device="cuda") for _ in range(2))

    def multiply() -> None:
        for _ in range(products):
            torch.mm(a, b)
        torch.cuda.synchronize()

    multiply()
    return 2 * side**3 * products / min(timed(multiply) for _ in range(TURNS)) / 1e12


def predict(model: BiomedParse, tiles: NDArray[np.uint8], targets: list[Target]) -> None:
    """Predict and wait for the device."""
    model.predict(tiles, targets)
    torch.cuda.synchronize()


@torch.inference_mode()
def answer(network: Network, pixels: Tensor, prompts: PromptEmbeddings) -> Tensor:
    """Encode the image and decode all prompts."""
    return network.decode(network.encode_images(pixels), prompts)


def answer_each(network: Network, pixels: Tensor, prompts: PromptEmbeddings) -> None:
    """Encode the image and decode it anew for each prompt."""
    for row in range(len(prompts.used)):
        one = slice(row, row + 1)
        answer(network, pixels, PromptEmbeddings(prompts.tokens[one], prompts.used[one], prompts.sentences[one]))


def take_turns(*calls: Callable[[], object]) -> list[list[float]]:
    """Seconds of processor time of each call in each turn."""
    turns = [[timed(call, time.process_time) for call in calls] for _ in range(TURNS)]
    return [list(seconds) for seconds in zip(*turns, strict=True)]


def timed(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call."""
    start = clock()
    call()
    return clock() - start


def build_meta(sizes: Sizes) -> Network:
    """A network without memory."""
    with torch.device("meta"):
        return build_biomedparse(sizes)


def build_random(sizes: Sizes) -> Network:
    """A network of seeded random weights."""
    torch.manual_seed(0)
    return build_biomedparse(sizes).requires_grad_(False)


def write_random(folder: Path, sizes: Sizes) -> Path:
    """A weights file of seeded random numbers under the official names."""
    path = folder / "random.safetensors"
    save_file({rename_ours(name): tensor for name, tensor in build_random(sizes).state_dict().items()}, path)
    return path


def invent_prompts(count: int, width: int) -> PromptEmbeddings:
    """Embeddings of prompts of equal length."""
    tokens = torch.randn(count, TOKENS, width)
    return PromptEmbeddings(tokens, torch.ones(count, TOKENS, dtype=torch.bool), tokens[:, -1])


def invent_tiles(count: int) -> NDArray[np.uint8]:
    """Noise, 256 pixels wide."""
    return np.random.default_rng(0).integers(0, 256, (count, 256, 256, 3), np.uint8)


def invent_targets(count: int) -> list[Target]:
    """Targets whose prompts have five words."""
    return [Target(f"{n}", f"cells of kind {n} found", "cell", (0, 0, 0), 0.25) for n in range(count)]


if __name__ == "__main__":
    main(sys.argv[1:])

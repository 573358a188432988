"""How well the shipped weights find what they claim to: Dice on images they never learned from.

    WSIPARSE_SHARED_DATA=/path/to/data python -m benchmarks.model_quality [WEIGHTS.safetensors]

Prints tables and writes benchmarks/results/model_quality.json. EBHI-Seg and DSB2018 are measured on the cases kept
apart in configs/train/open-1-split.csv, GlaS and MoNuSeg (other laboratories, never trained on) at several mpp.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
import timeit
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from wsiparse.models.execution import ModelOptions
from wsiparse.models.lanes import count_lanes
from wsiparse.models.load import ModelSpec, list_models, load_model
from wsiparse.models.model import Model
from wsiparse.models.open_network import count_macs
from wsiparse.models.weight_file import read_weights
from wsiparse.ontology import Ontology, Target
from wsiparse.training.dataset import load_picture
from wsiparse.training.examples import Example, read_examples

ROOT = Path(__file__).parents[1]
GLAS_MPP, MONUSEG_MPP = 0.62, 0.2462
EBHI_MPP, DSB_MPP = 1.5, 0.5
"""Stated by nobody: those at which wsiparse-open-1 learned from them."""
GLAND_MPPS, NUCLEI_MPPS = (1.0, 1.5, 2.0), (0.25, 0.35, 0.5)
STRIDE = 32
GLAND_WORDINGS = ("glandular structure", "gland", "colonic glands", "the glands of the large bowel", "bone", "neurons")
Mask = NDArray[np.bool_]
Table = dict[str, dict[str, float]]
Find = Callable[[Model, NDArray[np.uint8], list[Target]], NDArray[np.float64]]
"""How a model is asked about an image of any size."""


def find_target(model: Model, pixels: NDArray[np.uint8], targets: list[Target]) -> NDArray[np.float64]:
    """Probabilities [K, H, W] of an image of any size."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), mode="reflect")
    found = model.predict(padded[None], targets)[0, :, :height, :width]
    return np.asarray(found / 255, np.float64)


def find_rescaled(
    model: Model, pixels: NDArray[np.uint8], target: Target, scale: float, find: Find = find_target
) -> Mask:
    """Where an image shows a target when the model sees it `scale` times as large; a mask of the image's own size."""
    height, width = pixels.shape[:2]
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    found = Image.fromarray(find(model, small, [target])[0].astype(np.float32))
    return np.asarray(found.resize((width, height), Image.Resampling.BILINEAR)) >= target.threshold


def score_masks(predicted: Mask, reference: Mask) -> float:
    """Dice; 1 where both are empty."""
    either = int(predicted.sum()) + int(reference.sum())
    return 2 * int((predicted & reference).sum()) / either if either else 1.0


def summarize(scores: Iterable[float]) -> dict[str, float]:
    """Count, mean and median of scores."""
    values = np.array(list(scores))
    return {"images": len(values), "mean": float(values.mean()), "median": float(np.median(values))}


def measure_examples(model: Model, target: Target, examples: list[Example]) -> dict[str, float]:
    """Dice of one target over images that show it, which the model sees at the working mpp."""
    pictures, scale = [load_picture(example) for example in examples], find_scale(target)
    return summarize(score_masks(find_rescaled(model, p.pixels, target, scale), p.mask) for p in pictures)


def find_scale(target: Target) -> float:
    """How much larger than they are the images that a target was taught by are shown to the model."""
    return (DSB_MPP if target.name == "nuclei" else EBHI_MPP) / target.mpp


def measure_grades(model: Model, grades: list[Target], examples: list[Example]) -> Table:
    """For each grade: Dice over the images of that grade, Dice of all images' pixels together, and the share of the
    glands' pixels whose most probable grade is the right one.
    """
    counts = np.zeros((len(grades), 3))  # both, predicted, reference
    right: dict[str, list[float]] = {grade.name: [] for grade in grades}
    scores: dict[str, list[float]] = {grade.name: [] for grade in grades}
    for example in examples:
        picture = load_picture(example)
        found = find_target(model, picture.pixels, grades)  # [K, H, W]
        true = next(k for k, grade in enumerate(grades) if grade.name in example.present)
        masks = found >= np.array([grade.threshold for grade in grades])[:, None, None]
        counts[:, 1] += masks.sum((1, 2))
        counts[true] += (masks[true] & picture.mask).sum(), 0, picture.mask.sum()
        scores[grades[true].name].append(score_masks(masks[true], picture.mask))
        right[grades[true].name].append(float((found.argmax(0) == true)[picture.mask].mean()))
    pooled = 2 * counts[:, 0] / np.maximum(counts[:, 1] + counts[:, 2], 1)
    return {
        grade.name: {**summarize(scores[grade.name]), "pooled": float(dice), "right": float(np.mean(right[grade.name]))}
        for grade, dice in zip(grades, pooled, strict=True)
    }


def measure_folder(
    model: Model, target: Target, paths: list[Path], read: Callable[[Path], Mask], mpps: tuple[float, float]
) -> dict[str, float]:
    """Dice of a target over images of `mpps[0]` µm per pixel, shown to the model at `mpps[1]`."""
    scale = mpps[0] / mpps[1]
    images = ((path, np.asarray(Image.open(path).convert("RGB"))) for path in paths)
    return summarize(score_masks(find_rescaled(model, pixels, target, scale), read(path)) for path, pixels in images)


def read_glas(path: Path) -> Mask:
    """The gland mask of a GlaS image."""
    return np.asarray(Image.open(path.parents[1] / "masks" / f"{path.stem}.png")) > 0


def read_monuseg(path: Path) -> Mask:
    """The nuclei of a MoNuSeg image: a mask where there is one, else the polygons of its ImageScope file."""
    if (mask := path.with_suffix(".png")).exists():
        return np.asarray(Image.open(mask)) > 0
    drawn = Image.new("1", Image.open(path).size)
    for region in ElementTree.parse(path.with_suffix(".xml")).iter("Region"):
        points = [(float(vertex.attrib["X"]), float(vertex.attrib["Y"])) for vertex in region.iter("Vertex")]
        if len(points) > 2:
            ImageDraw.Draw(drawn).polygon(points, fill=1)
    return np.asarray(drawn)


@dataclasses.dataclass(frozen=True)
class Faces:
    """One model, asked in several ways."""

    plain: Model
    steady: Model
    """By eight views."""
    rough: Model
    """In bfloat16."""


def load_faces(name: str) -> Faces:
    """The model of a name or of a weight file, on the CPU."""
    options = ModelOptions(), ModelOptions(views=8), ModelOptions(precision="bfloat16")
    return Faces(*(load_model(ModelSpec(name, device="cpu", options=chosen)) for chosen in options))


def measure_model(faces: Faces, data: Path) -> dict[str, Table]:
    """Every table of the model card."""
    model, steady = faces.plain, faces.steady
    ontology = Ontology(model.targets)
    gland, nuclei = ontology.find("glandular structure"), ontology.find("nuclei")
    grades = [target for target in model.targets if target.group == "gland grade"]
    examples = read_examples(ROOT / "configs/train/open-1-split.csv", data)
    ebhi, dsb = ([e for e in examples if e.part == "test" and t.name in e.present] for t in (gland, nuclei))
    taught = [[e for e in examples if e.part == "train" and t.name in e.present] for t in (gland, nuclei)]
    glas = sorted((data / "glas/images").glob("testA*.webp"))
    monuseg = {part: sorted((data / "monuseg" / part).glob("*.webp")) for part in ("train", "test")}
    return {
        "kept apart": {
            "EBHI-Seg, glandular structure": measure_examples(model, gland, ebhi),
            "DSB2018 colour, nuclei": measure_examples(model, nuclei, dsb),
        },
        "learned from": {
            "every fourth of EBHI-Seg, glandular structure": measure_examples(model, gland, taught[0][::4]),
            "DSB2018 colour, nuclei": measure_examples(model, nuclei, taught[1]),
        },
        "mean of eight views": {
            "EBHI-Seg, glandular structure": measure_examples(steady, gland, ebhi),
            "DSB2018 colour, nuclei": measure_examples(steady, nuclei, dsb),
            "GlaS testA, 1.5 mpp": measure_folder(steady, gland, glas, read_glas, (GLAS_MPP, 1.5)),
            "MoNuSeg test, 0.25 mpp": measure_folder(
                steady, nuclei, monuseg["test"], read_monuseg, (MONUSEG_MPP, 0.25)
            ),
        },
        "in bfloat16": {
            "EBHI-Seg, glandular structure": measure_examples(faces.rough, gland, ebhi),
            "DSB2018 colour, nuclei": measure_examples(faces.rough, nuclei, dsb),
        },
        "EBHI-Seg, grades": measure_grades(model, grades, ebhi),
        "EBHI-Seg, gland by other words": {
            words: measure_examples(model, dataclasses.replace(gland, prompt=words), ebhi[::4])
            for words in GLAND_WORDINGS
        },
        "GlaS testA, glandular structure": {
            f"{mpp} mpp": measure_folder(model, gland, glas, read_glas, (GLAS_MPP, mpp)) for mpp in GLAND_MPPS
        },
        **{
            f"MoNuSeg {part}, nuclei": {
                f"{mpp} mpp": measure_folder(model, nuclei, paths, read_monuseg, (MONUSEG_MPP, mpp))
                for mpp in NUCLEI_MPPS
            }
            for part, paths in monuseg.items()
        },
    }


def measure_cost(faces: Faces, path: Path) -> Table:
    """What one tile asks of one CPU core, and the size of the network."""
    model = faces.plain
    _, network = read_weights(path)
    sizes = {
        "parameters (million)": sum(p.numel() for p in network.parameters()) / 1e6,
        "GMAC": count_macs(network.eval(), model.tile) / 1e9,
        "MB": model.tile_bytes / count_lanes() / 1e6,
    }
    return {
        f"{model.tile} px": {**sizes, "CPU seconds": time_tile(model)},
        "the same in bfloat16": {**sizes, "CPU seconds": time_tile(faces.rough)},
        "the same by eight views": {**sizes, "GMAC": 8 * sizes["GMAC"], "CPU seconds": time_tile(faces.steady)},
    }


def time_tile(model: Model) -> float:
    """CPU seconds of one tile with the targets of one working mpp on one thread: the median of five after a first."""
    targets = [target for target in model.targets if target.mpp == model.targets[0].mpp]
    pixels = np.random.default_rng(0).integers(0, 256, (1, model.tile, model.tile, 3), np.uint8)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = timeit.repeat(lambda: model.predict(pixels, targets), timer=time.process_time, number=1, repeat=6)
    torch.set_num_threads(threads)
    return float(np.median(seconds[1:]))


def print_tables(tables: dict[str, Table]) -> None:
    """Tables for people, in Markdown."""
    for title, rows in tables.items():
        columns = list(next(iter(rows.values())))
        print(f"\n| {title} | " + " | ".join(columns) + " |\n|---|" + "---:|" * len(columns))
        for name, row in rows.items():
            print(
                f"| {name} | "
                + " | ".join(f"{row[c]:.3f}" if c != "images" else f"{row[c]:.0f}" for c in columns)
                + " |"
            )


def main() -> None:
    """Measure the default model, or the weights named on the command line."""
    name = sys.argv[1] if len(sys.argv) > 1 else ModelSpec().name_or_path
    faces = load_faces(name)
    model = faces.plain
    tables = measure_model(faces, Path(os.environ["WSIPARSE_SHARED_DATA"]))
    tables["cost of a tile"] = measure_cost(faces, list_models().get(name, Path(name)))
    print(f"{model.name}, digest {model.digest[:16]}")
    print_tables(tables)
    if len(sys.argv) == 1:
        path = ROOT / "benchmarks/results/model_quality.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"model": model.name, "digest": model.digest, "tables": tables}, indent=1) + "\n")


if __name__ == "__main__":
    main()

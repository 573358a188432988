"""Whether the shipped model's masks betray what is not there: the validity test, fitted and measured.

    WSIPARSE_SHARED_DATA=/path/to/data python -m benchmarks.validity [WEIGHTS.safetensors]

Fits the Beta distributions on the training cases of configs/train/open-1-split.csv and writes them to
configs/validity/wsiparse-open-1.json. Then asks for every target in images kept apart that show it and in images that
do not, prints how well a low p-value tells them apart, and writes benchmarks/results/validity.json. Images of other
laboratories that do show the target (GlaS, MoNuSeg, IHC) say what the test costs away from its own stain.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage, stats

from benchmarks.model_quality import GLAND_MPPS, GLAS_MPP, MONUSEG_MPP, ROOT, STRIDE, find_scale
from benchmarks.report import Row, print_table, write_result
from tests.drawing import CMU_1
from wsiparse.geometry import Region
from wsiparse.maps.validity import (
    CODE_THRESHOLD,
    PAPER_THRESHOLD,
    Fits,
    adjust,
    fit_features,
    judge_tile,
    measure_masks,
    write_fits,
)
from wsiparse.models.load import DEFAULT_MODEL, ModelSpec, load_model
from wsiparse.models.model import Model
from wsiparse.ontology import Target
from wsiparse.slides.open import open_slide
from wsiparse.slides.slide import Pixels
from wsiparse.tiles.resample import read_grid
from wsiparse.training.dataset import load_picture
from wsiparse.training.examples import Example, read_examples

SPLIT = ROOT / "configs/train/open-1-split.csv"
FITS = ROOT / "configs/validity/wsiparse-open-1.json"
SIDE = 224
DRAWN = 24
"""Synthetic images of each kind."""
NUCLEI = "nuclei"
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
Statistics = NDArray[np.float64]
"""Of the masks of one target: [images, features]."""
PRESENT = "the target, kept apart"
RULES = ("paper", "code")
"""The product of the p-values below 0.01, and its fourth root below 0.05."""


@dataclass(frozen=True)
class Judged:
    """Images asked for one target."""

    statistics: Statistics
    p_values: NDArray[np.float64]

    @property
    def empty(self) -> float:
        """Share of images in which nothing was found."""
        return float((self.statistics[:, 0] == 0).mean())

    def refuse(self, rule: str) -> NDArray[np.bool_]:
        """Which images a rule takes for such without the target."""
        refused = self.p_values < PAPER_THRESHOLD if rule == "paper" else adjust(self.p_values) < CODE_THRESHOLD
        return np.asarray(refused)


def join_judged(parts: Sequence[Judged]) -> Judged:
    """All images as one."""
    return Judged(np.concatenate([p.statistics for p in parts]), np.concatenate([p.p_values for p in parts]))


def measure_images(model: Model, target: Target, images: Sequence[Pixels]) -> Statistics:
    """Statistics of what the model finds of a target in images of any size at the working scale."""
    return np.concatenate([_measure_image(model, target, pixels) for pixels in images])


def _measure_image(model: Model, target: Target, pixels: Pixels) -> Statistics:
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), mode="reflect")
    return measure_masks(model.predict(padded[None], [target])[:, :, :height, :width], pixels[None])[:, 0]


def fit_targets(model: Model, examples: Sequence[Example]) -> tuple[Fits, dict[str, int]]:
    """Fits of each target over images that show it and in which the model finds some of it, and how many those are."""
    found = {}
    for target in model.targets:
        statistics = measure_images(model, target, load_shown(examples, target))
        found[target.name] = statistics[statistics[:, 0] > 0]
    return {name: fit_features(name, rows) for name, rows in found.items()}, {n: len(rows) for n, rows in found.items()}


def load_shown(examples: Sequence[Example], target: Target) -> list[Pixels]:
    """The images that show a target, at its working mpp."""
    scale = find_scale(target)
    return [load_picture(example).resize(scale).pixels for example in examples if target.name in example.present]


def list_absent(target: Target, kept: Sequence[Example], kinds: Mapping[str, list[Pixels]]) -> dict[str, list[Pixels]]:
    """Images without a target, by kind: other grades are absent where one is outlined, nuclei are in all tissue."""
    absent = {kind: images for kind, images in kinds.items() if target.name != NUCLEI or not kind.startswith("tissue")}
    if target.group == "gland grade":
        others = [e for e in kept if target.name not in e.present and NUCLEI not in e.present]
        absent["tissue: another grade"] = [load_picture(example).pixels for example in others]
    shown = load_shown(kept, target)
    return {**absent, "blurred": [_blur(pixels) for pixels in shown[:DRAWN]]}


def draw_kinds(kept: Sequence[Example]) -> dict[str, list[Pixels]]:
    """Images that show no gland, and no nuclei either unless their kind is tissue."""
    random = np.random.default_rng(0)
    return {
        "tissue: skin": _cut_skin(1.5),
        "tissue: close-up of nuclei": [load_picture(e).pixels for e in kept if NUCLEI in e.present],
        "blank glass": [_draw_glass(random) for _ in range(DRAWN)],
        "ink": [_draw_ink(random) for _ in range(DRAWN)],
        "noise": [random.integers(0, 256, (SIDE, SIDE, 3), np.uint8) for _ in range(DRAWN)],
        "grey": [np.full((SIDE, SIDE, 3), level, np.uint8) for level in np.linspace(10, 250, DRAWN)],
        "photographs": [piece for name in PHOTOGRAPHS for piece in _cut(_open_picture(name))],
    }


def _cut_skin(mpp: float) -> list[Pixels]:
    reader = open_slide(CMU_1)
    grid = reader.slide.grid.at_mpp(mpp)
    return _cut(read_grid(reader, grid, Region(0, 0, grid.width, grid.height)))


def _cut(pixels: Pixels) -> list[Pixels]:
    rows, columns = (range(0, size - SIDE + 1, SIDE) for size in pixels.shape[:2])
    return [pixels[y : y + SIDE, x : x + SIDE] for y in rows for x in columns]


def _draw_glass(random: np.random.Generator) -> Pixels:
    shade = random.uniform(225, 250) + ndimage.gaussian_filter(random.normal(0, 60, (SIDE, SIDE, 1)), (12, 12, 0))
    return np.asarray(np.clip(shade + random.normal(0, 2, (SIDE, SIDE, 3)), 0, 255), np.uint8)


def _draw_ink(random: np.random.Generator) -> Pixels:
    image = Image.fromarray(_draw_glass(random))
    pen, color = ImageDraw.Draw(image), [(20, 30, 120), (10, 110, 60), (15, 15, 15)][int(random.integers(3))]
    points = [(float(x), float(y)) for x, y in random.uniform(0, SIDE, (4, 2))]
    pen.line(points, fill=color, width=int(random.integers(20, 60)), joint="curve")
    return np.asarray(image)


def _blur(pixels: Pixels) -> Pixels:
    return np.asarray(ndimage.gaussian_filter(pixels, (12, 12, 0)), np.uint8)


def _open_picture(name: str) -> Pixels:
    """A picture that comes with scikit-image."""
    with Image.open(Path(skimage.data.__file__).with_name(name)) as image:
        return np.asarray(image.convert("RGB"))


def list_elsewhere(target: Target, data: Path) -> dict[str, list[Pixels]]:
    """Images of other laboratories that do show a target."""
    if target.name == NUCLEI:
        paths = sorted((data / "monuseg/test").glob("*.webp"))
        return {"MoNuSeg test": [_rescale(path, MONUSEG_MPP / target.mpp) for path in paths]}
    if target.name == "glandular structure":
        paths = sorted((data / "glas/images").glob("testA*.webp"))
        glands = [_rescale(path, GLAS_MPP / GLAND_MPPS[1]) for path in paths]
        return {"GlaS testA": glands, "IHC of colon": _cut(_open_picture("ihc.png"))}
    return {}


def _rescale(path: Path, scale: float) -> Pixels:
    with Image.open(path) as image:
        size = (round(image.width * scale), round(image.height * scale))
        return np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))


def rank(present: NDArray[np.float64], absent: NDArray[np.float64]) -> float:
    """AUROC: how often an image with the target has the higher p-value than one without; ties count half."""
    statistic = stats.mannwhitneyu(present, absent).statistic
    return float(statistic / (len(present) * len(absent)))


def measure_target(
    model: Model, target: Target, kept: Sequence[Example], absent: Mapping[str, list[Pixels]], data: Path
) -> dict[str, Statistics]:
    """Statistics by kind of image: those kept apart that show the target, those without it, and other laboratories'."""
    kinds = {PRESENT: load_shown(kept, target), **absent, **list_elsewhere(target, data)}
    return {kind: measure_images(model, target, images) for kind, images in kinds.items()}


def summarize(name: str, present: Judged, absent: Judged) -> Row:
    """One target's row: refusing is the answer looked for, so recall is the share of absent ones that are refused."""
    masked = [judged.p_values[judged.statistics[:, 0] > 0] for judged in (present, absent)]
    row: dict[str, object] = {
        "target": name,
        "present": len(present.p_values),
        "absent": len(absent.p_values),
        "AUROC": rank(present.p_values, absent.p_values),
        "AUROC with a mask": rank(*masked) if masked[1].size else float("nan"),
        "empty masks": absent.empty,
    }
    for rule in RULES:
        right, wrong = absent.refuse(rule), present.refuse(rule)
        row |= {
            f"precision, {rule}": float(right.sum() / max(right.sum() + wrong.sum(), 1)),
            f"recall, {rule}": float(right.mean()),
            f"wrongly refused, {rule}": float(wrong.mean()),
        }
    return row


def describe_kind(name: str, kind: str, judged: Judged) -> Row:
    """One kind of image: how often nothing was found at all, and how often the test refuses."""
    refused = {f"refused, {rule}": float(judged.refuse(rule).mean()) for rule in RULES}
    return {"target": name, "images of": kind, "images": len(judged.p_values), "empty mask": judged.empty, **refused}


def main() -> None:
    """Fit, measure, print and write."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    data = Path(os.environ["WSIPARSE_SHARED_DATA"])
    model = load_model(ModelSpec(sys.argv[1] if len(sys.argv) > 1 else DEFAULT_MODEL, "cpu"))
    examples = read_examples(SPLIT, data)
    fits, samples = fit_targets(model, [example for example in examples if example.part == "train"])
    write_fits(FITS, fits, samples)
    kept = [example for example in examples if example.part == "test"]
    kinds, rows, details = draw_kinds(kept), [], []
    for target in model.targets:
        absent = list_absent(target, kept, kinds)
        measured = measure_target(model, target, kept, absent, data)
        judged = {kind: Judged(found, judge_tile(found, fits[target.name])) for kind, found in measured.items()}
        details += [describe_kind(target.name, kind, of_kind) for kind, of_kind in judged.items()]
        rows.append(summarize(target.name, judged[PRESENT], join_judged([judged[kind] for kind in absent])))
    print_table("Refusing what is absent", rows)
    print_table("By kind of image", details)
    write_result("validity", [*rows, *details])


if __name__ == "__main__":
    main()

"""How well wsiparse-research-1 finds and names the nuclei of CRCHistoPhenotypes' kept-apart images.

    WSIPARSE_SHARED_DATA=/path/to/data python -m benchmarks.crchisto [WEIGHTS.safetensors [train]]

As Sirinukunwattana et al. 2016 measure it: a found nucleus is right where its middle lies within 6 px (3.3 µm) of an
annotated one, each counted once. `class F1` judges the right ones' classes, `both F1` asks for place and class at once;
they are means over the classes by their counts. Prints a table and writes benchmarks/results/crchisto.json.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import harmonic_mean

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from benchmarks.model_quality import find_target
from benchmarks.report import print_table, write_result
from benchmarks.split_open_1 import choose_part
from benchmarks.split_research_1 import CLASSES, CRC_MPP, read_points
from wsiparse.annotations.splitting import Splitting, split_objects
from wsiparse.models.load import ModelSpec, load_model
from wsiparse.models.model import Model
from wsiparse.ontology import Ontology, Target

REACH = 6.0
"""Pixels of 0.55 µm."""
Points = NDArray[np.float64]
Names = NDArray[np.str_]


@dataclass(frozen=True)
class Matched:
    """The nuclei of some images, and which of those found is which of those annotated."""

    true: Names
    found: Names
    pairs: NDArray[np.int64]
    """Annotated and found nucleus [M, 2], by their numbers."""

    def score_places(self) -> dict[str, float]:
        """Precision, recall and F1 of detection."""
        precision, recall = (len(self.pairs) / max(len(side), 1) for side in (self.found, self.true))
        return {"precision": precision, "recall": recall, "F1": harmonic_mean([precision, recall])}

    def score_class(self, name: str) -> dict[str, float]:
        """F1 of one class among the nuclei that were found, and of its place and name at once."""
        true, found = self.true[self.pairs[:, 0]] == name, self.found[self.pairs[:, 1]] == name
        right = int((true & found).sum())
        asked, given = int((self.true == name).sum()), int((self.found == name).sum())
        return {
            "nuclei": asked,
            "class F1": 2 * right / max(int(true.sum()) + int(found.sum()), 1),
            "both F1": 2 * right / max(asked + given, 1),
        }


def join(parts: Sequence[Matched]) -> Matched:
    """Several images as one."""
    starts = np.cumsum([(0, 0), *((len(part.true), len(part.found)) for part in parts)], 0)
    pairs = [part.pairs + start for part, start in zip(parts, starts, strict=False)]
    true, found = (np.concatenate([getattr(part, side) for part in parts]) for side in ("true", "found"))
    return Matched(true, found, np.concatenate(pairs))


def match_points(true: Points, found: Points) -> NDArray[np.int64]:
    """Pairs [M, 2] of points that lie within reach, as many as there can be, the nearer before the farther."""
    distances = cdist(true, found)
    # Beyond reach every pair costs more than all within it together: none is given up for a shorter way.
    costs = np.where(distances <= REACH, distances, 1 + REACH * max(min(distances.shape), 1))
    rows, columns = linear_sum_assignment(costs)
    near = distances[rows, columns] <= REACH
    return np.column_stack([rows[near], columns[near]])


def find_nuclei(model: Model, targets: Sequence[Target], image: Image.Image) -> tuple[Points, NDArray[np.int64]]:
    """Middles [N, 2] as x and y in the image's pixels, and the most probable target of each."""
    mpp = targets[0].mpp
    size = (round(image.width * CRC_MPP / mpp), round(image.height * CRC_MPP / mpp))
    found = find_target(model, np.asarray(image.resize(size, Image.Resampling.LANCZOS)), list(targets))
    anything = found.sum(0).clip(0, 1)
    mask = anything >= targets[0].threshold
    ids = split_objects(mask, np.rint(anything * 255).astype(np.uint8), mpp, Splitting())
    numbers = np.flatnonzero(np.bincount(ids.ravel()) * mpp**2 >= targets[0].min_area_um2)
    numbers = numbers[numbers > 0]
    middles = np.array(ndimage.center_of_mass(mask, ids, numbers)).reshape(-1, 2)
    shares = np.array([ndimage.mean(probability, ids, numbers) for probability in found])
    return (middles[:, ::-1] + 0.5) * mpp / CRC_MPP, shares.argmax(0)


def measure_image(model: Model, path: Path) -> Matched:
    """The nuclei of one image."""
    targets = [Ontology(model.targets).find(name) for name in CLASSES.values()]
    true, classes = read_points(path.with_suffix(".csv"))
    with Image.open(path) as image:
        found, chosen = find_nuclei(model, targets, image.convert("RGB"))
    return Matched(classes, np.array([*CLASSES])[chosen], match_points(true, found))


def list_images(data: Path, part: str) -> list[Path]:
    """The images of a part, as configs/train/research-1-split.csv divides them."""
    paths = sorted((data / "crchisto/images").glob("*.webp"))
    return [path for path in paths if choose_part(f"crchisto/{path.stem}") == part]


def summarize(matched: Matched) -> list[dict[str, str | float]]:
    """A row for all, and one for each class."""
    classes = {name: matched.score_class(name) for name in CLASSES}
    counts = np.array([scores["nuclei"] for scores in classes.values()])
    means = {
        key: float(np.average([scores[key] for scores in classes.values()], weights=counts))
        for key in ("class F1", "both F1")
    }
    rows: list[dict[str, str | float]] = [{"nuclei of": CLASSES[name], **scores} for name, scores in classes.items()]
    return [{"nuclei of": "all", "nuclei": len(matched.true), **means, **matched.score_places()}, *rows]


def main() -> None:
    """Measure the shipped research weights, or those named on the command line."""
    name, part = (*sys.argv[1:], *("wsiparse-research-1", "test")[len(sys.argv) - 1 :])
    model = load_model(ModelSpec(name, device="cpu"))
    paths = list_images(Path(os.environ["WSIPARSE_SHARED_DATA"]), part)
    rows = summarize(join([measure_image(model, path) for path in paths]))
    print_table(f"CRCHistoPhenotypes, {len(paths)} images ({part}), {model.name} {model.digest[:12]}", rows)
    if len(sys.argv) == 1:
        write_result("crchisto", rows)


if __name__ == "__main__":
    main()

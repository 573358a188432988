"""How well a model finds the glands of GlaS testA: Dice of an image's pixels, and object Dice as its contest counts it.

    WSIPARSE_SHARED_DATA=/path/to/data python -m benchmarks.glas WEIGHTS.safetensors [train]

Asked by the prompt "glandular structure in colon pathology" at the target's own mpp, once and as the mean of eight
views (turned and mirrored); scored at the images' own 0.62 µm a pixel. The masks do not number the glands: those that
touch are one object, on both sides. Prints a table; a second argument names another part of GlaS.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from benchmarks.model_quality import (
    GLAS_MPP,
    Find,
    Mask,
    find_by_views,
    find_target,
    read_glas,
    score_masks,
    summarize,
)
from benchmarks.report import print_table
from wsiparse.evaluation.objects import ObjectScore, score_objects
from wsiparse.evaluation.overlaps import count_overlaps
from wsiparse.models.load import ModelSpec, load_model
from wsiparse.models.model import Model
from wsiparse.ontology import Ontology, Target

PROMPT = "glandular structure in colon pathology"


def find_glands(model: Model, target: Target, path: Path, find: Find) -> Mask:
    """The glands of an image [H, W], outlined at its own scale."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    size = (round(image.width * GLAS_MPP / target.mpp), round(image.height * GLAS_MPP / target.mpp))
    found = find(model, np.asarray(image.resize(size, Image.Resampling.LANCZOS)), [target])[0]
    resized = Image.fromarray(found.astype(np.float32)).resize(image.size, Image.Resampling.BILINEAR)
    return np.asarray(resized) >= target.threshold


def score_parts(predicted: Mask, reference: Mask, target: Target) -> ObjectScore:
    """The score of the connected parts of two masks; predicted ones below the target's least area do not count."""
    ids, _ = ndimage.label(predicted)
    small = np.bincount(ids.ravel()) * GLAS_MPP**2 < target.min_area_um2
    ids = np.where(small[ids], 0, ids)
    return score_objects(count_overlaps([(ids, ndimage.label(reference)[0])], GLAS_MPP**2))


def measure_views(model: Model, paths: Sequence[Path], find: Find) -> dict[str, float]:
    """Pixels' Dice over images, and of the objects of all images together F1 and object Dice."""
    target = Ontology(model.targets).find(PROMPT)
    masks = [(find_glands(model, target, path, find), read_glas(path)) for path in paths]
    objects = sum((score_parts(*pair, target) for pair in masks), ObjectScore())
    dices = summarize(score_masks(*pair) for pair in masks)
    return {**dices, "object Dice": objects.object_dice, "object F1": objects.detection_f1}


def main() -> None:
    """Measure the weights named on the command line."""
    name, part = sys.argv[1], (sys.argv[2:] or ["testA"])[0]
    model = load_model(ModelSpec(name, device="cpu"))
    paths = sorted((Path(os.environ["WSIPARSE_SHARED_DATA"]) / "glas/images").glob(f"{part}_*.webp"))
    views = {"one": find_target, "eight": find_by_views}
    rows = [{"views": name, **measure_views(model, paths, find)} for name, find in views.items()]
    print_table(f"GlaS {part}, {model.name} {model.digest[:12]}", rows)


if __name__ == "__main__":
    main()

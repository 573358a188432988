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

from benchmarks.model_quality import GLAS_MPP, Mask, find_rescaled, read_glas, score_masks, summarize
from benchmarks.report import print_table
from wsiparse.evaluation.objects import ObjectScore, score_objects
from wsiparse.evaluation.overlaps import count_overlaps
from wsiparse.models.execution import ModelOptions
from wsiparse.models.load import ModelSpec, load_model
from wsiparse.models.model import Model
from wsiparse.ontology import Ontology, Target

PROMPT = "glandular structure in colon pathology"


def score_parts(predicted: Mask, reference: Mask, target: Target) -> ObjectScore:
    """The score of the connected parts of two masks; predicted ones below the target's least area do not count."""
    ids, _ = ndimage.label(predicted)
    small = np.bincount(ids.ravel()) * GLAS_MPP**2 < target.min_area_um2
    ids = np.where(small[ids], 0, ids)
    return score_objects(count_overlaps([(ids, ndimage.label(reference)[0])], GLAS_MPP**2))


def find_glands(model: Model, target: Target, path: Path) -> Mask:
    """The glands of an image [H, W], outlined at its own scale."""
    with Image.open(path) as opened:
        return find_rescaled(model, np.asarray(opened.convert("RGB")), target, GLAS_MPP / target.mpp)


def measure_glands(model: Model, paths: Sequence[Path]) -> dict[str, float]:
    """Pixels' Dice over images, and of the objects of all images together F1 and object Dice."""
    target = Ontology(model.targets).find(PROMPT)
    masks = [(find_glands(model, target, path), read_glas(path)) for path in paths]
    objects = sum((score_parts(*pair, target) for pair in masks), ObjectScore())
    dices = summarize(score_masks(*pair) for pair in masks)
    return {**dices, "object Dice": objects.object_dice, "object F1": objects.detection_f1}


def main() -> None:
    """Measure the weights named on the command line."""
    name, part = sys.argv[1], (sys.argv[2:] or ["testA"])[0]
    paths = sorted((Path(os.environ["WSIPARSE_SHARED_DATA"]) / "glas/images").glob(f"{part}_*.webp"))
    models = {views: load_model(ModelSpec(name, "cpu", options=ModelOptions(views=views))) for views in (1, 8)}
    rows = [{"views": views, **measure_glands(model, paths)} for views, model in models.items()]
    print_table(f"GlaS {part}, {models[1].name} {models[1].digest[:12]}", rows)


if __name__ == "__main__":
    main()

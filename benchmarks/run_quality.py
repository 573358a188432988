"""How well the shipped model does as a user meets it: `wsiparse run`, then `wsiparse evaluate`, set by set.

    WSIPARSE_SHARED_DATA=/path/to/data python -m benchmarks.run_quality [MODEL or WEIGHTS.safetensors] [--views 8]

Prints a table and writes benchmarks/results/run_quality.json, or run_quality_NAME.json of another model that ships;
those of eight views end in _views_8.
The sets are those of benchmarks/model_quality.py, of which only the images kept apart are asked for; those whose scale
nobody states are given the mpp at which wsiparse-open-1 learned from them.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

import wsiparse
from benchmarks.model_quality import DSB_MPP, EBHI_MPP, GLAS_MPP, MONUSEG_MPP, ROOT, Table, print_tables, summarize
from wsiparse.evaluation.measures import Evaluation
from wsiparse.evaluation.table import name_objects
from wsiparse.models.execution import ModelOptions
from wsiparse.models.load import DEFAULT_MODEL, ModelSpec, list_models, load_model
from wsiparse.runs.evaluate import evaluate_run
from wsiparse.training.examples import read_examples

SPLIT = ROOT / "configs/train/open-1-split.csv"
GLAND, NUCLEI = "glandular structure", "nuclei"
TABLES = {
    "through run and evaluate": ("images", "mean", "mean low", "mean high", "median", "PQ", "PQ pooled"),
    "added pixels": ("Dice", "low", "high", "iou", "precision", "recall", "ece", "hd95_um"),
    "added objects": ("predicted_objects", "reference_objects", "count_error", "dq", "sq", "object_f1", "object_dice"),
}
"""Columns of the tables that are printed; low and high bound 95 % intervals of drawing images."""
Rows = list[dict[str, str | float]]


def list_glands(data: Path, folder: Path) -> dict[str, Rows]:
    """The sets that outline glands; `folder` takes masks that are made.

    Each connected part of a GlaS mask is a gland, much as the contest numbers them; those of EBHI-Seg touch too often.
    """
    kept = [e for e in read_examples(SPLIT, data) if e.part == "test" and GLAND in e.present]
    images = (data / "glas/images").glob("testA*.webp")
    glas = [(path, number_parts(data / f"glas/masks/{path.stem}.png", folder)) for path in images]
    return {
        "EBHI-Seg, kept apart": write_rows([(e.image, e.mask) for e in kept], EBHI_MPP, GLAND, ""),
        "GlaS testA": write_rows(glas, GLAS_MPP, GLAND, "yes"),
    }


def number_parts(mask: Path, folder: Path) -> Path:
    """A mask whose connected parts are numbered."""
    path = folder / mask.name
    numbers, _ = ndimage.label(np.asarray(Image.open(mask)) > 0)
    Image.fromarray(numbers.astype(np.uint16)).save(path)
    return path


def list_nuclei(data: Path, _: Path) -> dict[str, Rows]:
    """The sets that outline nuclei."""
    kept = [e for e in read_examples(SPLIT, data) if e.part == "test" and NUCLEI in e.present]
    monuseg = [(path, path.with_suffix(".xml")) for path in (data / "monuseg/test").glob("*.webp")]
    return {
        "DSB2018 colour, kept apart": write_rows([(e.image, e.mask) for e in kept], DSB_MPP, NUCLEI, "yes"),
        "MoNuSeg test": write_rows(monuseg, MONUSEG_MPP, NUCLEI, ""),
    }


def write_rows(pairs: Sequence[tuple[Path, Path]], mpp: float, target: str, instances: str) -> Rows:
    """Rows of a manifest for images and their references."""
    return [
        {
            "slide": str(image),
            "mpp": mpp,
            "reference": str(reference),
            "reference_target": target,
            "reference_instances": instances,
        }
        for image, reference in sorted(pairs)
    ]


def run_set(rows: Rows, target: str, model: ModelSpec, folder: Path) -> Evaluation:
    """Parse and score the slides of a manifest."""
    manifest = folder / "manifest.csv"
    with open(manifest, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    chosen: dict[str, Any] = {"model": model.name_or_path, "device": model.device, "views": model.options.views}
    results = wsiparse.run(manifest, folder / "run", targets=[target], **chosen)
    return evaluate_run(results.run, hd95=True)


def describe_set(evaluation: Evaluation) -> dict[str, float]:
    """Dice over slides, and of the objects the PQ: mean over slides, and of all of them together.

    Then every measure of the cohort: of the added pixels with the 95 % interval of Dice, and of the added objects.
    """
    objects = [measures.objects for measures in evaluation.measures if measures.objects is not None]
    cohort = evaluation.cohort[0]
    pooled, score, dice = cohort.pooled.objects, cohort.pooled.score, cohort.dice
    return {
        **summarize(score.dice for score in evaluation.scores),
        "mean low": dice.macro.low,
        "mean high": dice.macro.high,
        "PQ": float(np.mean([score.panoptic_quality for score in objects])) if objects else float("nan"),
        "PQ pooled": pooled.panoptic_quality if pooled else float("nan"),
        "Dice": score.dice,
        "low": dice.micro.low,
        "high": dice.micro.high,
        **{name: getattr(score, name) for name in ("iou", "precision", "recall")},
        "ece": cohort.pooled.calibration_error,
        "hd95_um": cohort.pooled.hd95_um,
        **{name: value for name, value in name_objects(pooled).items() if name != "pq"},
    }


def measure_sets(model: ModelSpec, data: Path) -> Table:
    """A row for every set whose target the model knows."""
    known = {target.name for target in load_model(model).targets}
    table: Table = {}
    with tempfile.TemporaryDirectory() as masks:
        for target, list_sets in ((GLAND, list_glands), (NUCLEI, list_nuclei)):
            for name, rows in list_sets(data, Path(masks)).items() if target in known else ():
                with tempfile.TemporaryDirectory() as folder:
                    table[name] = describe_set(run_set(rows, target, model, Path(folder)))
    return table


def choose_columns(table: Table, names: Sequence[str]) -> Table:
    """Some columns of a table."""
    return {name: {column: row[column] for column in names} for name, row in table.items()}


def main() -> None:
    """Measure the default model, or the weights named on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("weights", nargs="?", default=DEFAULT_MODEL)
    parser.add_argument("--views", type=int, default=1)
    options = parser.parse_args()
    model = ModelSpec(options.weights, "cpu", options=ModelOptions(views=options.views))
    table = measure_sets(model, Path(os.environ["WSIPARSE_SHARED_DATA"]))
    print_tables({title: choose_columns(table, names) for title, names in TABLES.items()})
    if options.weights in list_models():
        write_table(model, table)


def write_table(model: ModelSpec, table: Table) -> None:
    """Keep what was measured of a model that ships."""
    name = model.name_or_path
    of_model = "" if name == DEFAULT_MODEL else f"_{name.replace('-', '_')}"
    of_views = "" if model.options.views == 1 else f"_views_{model.options.views}"
    rows = {name: {k: v for k, v in row.items() if np.isfinite(v)} for name, row in table.items()}
    path = ROOT / f"benchmarks/results/run_quality{of_model}{of_views}.json"
    path.write_text(json.dumps({"model": name, "digest": load_model(model).digest, "table": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""How much of tissue without glands is taken for glands?

    WSIPARSE_SHARED_DATA=/path/to/data python -m benchmarks.bare [WEIGHTS.safetensors ...]

The images of DSB2018 that `configs/train/open-1-bare.csv` says to show none: lymphocytes, muscle and stroma, of the
part that is kept apart and of that which is learned from. `found` is the share of their pixels that a model takes for
glandular structure. Prints a table.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.model_quality import find_rescaled
from benchmarks.report import Row, print_table
from wsiparse.models.load import DEFAULT_MODEL, ModelSpec, load_model
from wsiparse.ontology import Ontology
from wsiparse.training.dataset import load_picture
from wsiparse.training.examples import Example, read_examples

GLANDS = "glandular structure"
TABLE = Path(__file__).parents[1] / "configs/train/open-1-bare.csv"


def measure_weights(name: str, parts: Mapping[str, Sequence[Example]]) -> Row:
    """The share that a model finds in each part, over all its images together."""
    model = load_model(ModelSpec(name, device="cpu"))
    target = Ontology(model.targets).find(GLANDS)
    found: dict[str, float] = {}
    for part, examples in parts.items():
        pictures = [load_picture(example) for example in examples]
        shares = [find_rescaled(model, p.pixels, target, (p.mpp or target.mpp) / target.mpp).mean() for p in pictures]
        found[f"found, {part}"] = float(np.mean(shares))
    return {"model": f"{model.name} {model.digest[:12]}", **found}


def main() -> None:
    """Measure the default model, or the weights named on the command line."""
    rows = [row for row in read_examples(TABLE, os.environ["WSIPARSE_SHARED_DATA"]) if GLANDS in row.absent]
    parts = {"kept apart": [row for row in rows if row.part == "test"]}
    parts["learned from"] = [row for row in rows if row.part == "train"]
    print({part: len(examples) for part, examples in parts.items()})
    print_table(
        "pixels taken for glands where none are", [measure_weights(n, parts) for n in sys.argv[1:] or [DEFAULT_MODEL]]
    )


if __name__ == "__main__":
    main()

"""How much of fat is taken for nuclei?

    WSIPARSE_SHARED_DATA=/path/to/data python -m benchmarks.fat [WEIGHTS.safetensors ...]

The images of CRCHistoPhenotypes (0.55 µm/px) that are more than half white: fat, glass and the wide lumina of glands.
`found` is the share of their pixels that a model takes for nuclei, `annotated` the share that discs of 3 µm around the
annotated nuclei cover: about a quarter of all nuclei bear no point. Prints a table.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.model_quality import find_rescaled
from benchmarks.report import Row, print_table
from benchmarks.split_research_1 import BEYOND, CRC_MPP, DISC_UM, find_discs, read_points
from wsiparse.models.load import DEFAULT_MODEL, ModelSpec, load_model
from wsiparse.ontology import Ontology

WHITE = 225
"""Least red, green and blue of a white pixel."""


def is_white(path: Path) -> bool:
    """True where white covers more than half of an image."""
    with Image.open(path) as image:
        return bool((np.asarray(image.convert("RGB")).min(-1) > WHITE).mean() > 0.5)


def measure_annotated(path: Path) -> float:
    """The share of an image that discs around its annotated nuclei cover."""
    with Image.open(path) as image:
        side = image.width
    points, _ = read_points(path.with_suffix(".csv"))
    if len(points) < 2:  # the discs are those nearer than the second nearest
        return 0.0
    return float((find_discs(points, side, DISC_UM / CRC_MPP) != BEYOND).mean())


def measure_weights(name: str, paths: list[Path]) -> Row:
    """The share that a model finds, over all images together."""
    model = load_model(ModelSpec(name, device="cpu"))
    target = Ontology(model.targets).find("nuclei")
    shares = []
    for path in paths:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        shares.append(find_rescaled(model, pixels, target, CRC_MPP / target.mpp).mean())
    return {"model": f"{model.name} {model.digest[:12]}", "found": float(np.mean(shares))}


def main() -> None:
    """Measure the default model, or the weights named on the command line."""
    folder = Path(os.environ["WSIPARSE_SHARED_DATA"]) / "crchisto/images"
    paths = [path for path in sorted(folder.glob("*.webp")) if is_white(path)]
    annotated = float(np.mean([measure_annotated(path) for path in paths]))
    models = sys.argv[1:] or [DEFAULT_MODEL]
    rows = [{**measure_weights(name, paths), "annotated": annotated} for name in models]
    print_table(f"nuclei in {len(paths)} images that are mostly white", rows)


if __name__ == "__main__":
    main()

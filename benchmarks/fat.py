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

from benchmarks.model_quality import Mask, find_rescaled
from benchmarks.report import Row, print_table
from benchmarks.split_research_1 import BETWEEN, CRC_MPP, DISC_UM, find_discs, read_points
from wsiparse.models.load import DEFAULT_MODEL, ModelSpec, load_model
from wsiparse.ontology import Ontology

WHITE = 225
"""Least red, green and blue of a white pixel."""


def is_white(path: Path) -> bool:
    """True where white covers more than half of an image."""
    with Image.open(path) as image:
        return bool((np.asarray(image.convert("RGB")).min(-1) > WHITE).mean() > 0.5)


def mark_annotated(path: Path, side: int) -> Mask:
    """Where [side, side] discs around the annotated nuclei lie."""
    points, _ = read_points(path.with_suffix(".csv"))
    if len(points) < 2:  # the discs are those nearer than the second nearest
        return np.zeros((side, side), np.bool_)
    found = find_discs(points, side, DISC_UM / CRC_MPP)
    covered: Mask = (found >= 0) | (found == BETWEEN)
    return covered


def measure_weights(name: str, paths: list[Path]) -> Row:
    """The shares over all images together."""
    model = load_model(ModelSpec(name, device="cpu"))
    target = Ontology(model.targets).find("nuclei")
    shares = []
    for path in paths:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        found = find_rescaled(model, pixels, target, CRC_MPP / target.mpp)
        shares.append((found.mean(), mark_annotated(path, len(pixels)).mean()))
    found_share, annotated = np.mean(shares, 0).tolist()
    return {"model": f"{model.name} {model.digest[:12]}", "found": found_share, "annotated": annotated}


def main() -> None:
    """Measure the default model, or the weights named on the command line."""
    folder = Path(os.environ["WSIPARSE_SHARED_DATA"]) / "crchisto/images"
    paths = [path for path in sorted(folder.glob("*.webp")) if is_white(path)]
    rows = [measure_weights(name, paths) for name in sys.argv[1:] or [DEFAULT_MODEL]]
    print_table(f"nuclei in {len(paths)} images that are mostly white", rows)


if __name__ == "__main__":
    main()

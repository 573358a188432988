"""Small things to learn from: ontologies, configs and folders written for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from PIL import Image

from wsiparse.models.tile_sizes import TileSizes

ONTOLOGY = """
[[target]]
name = "dark disc"
prompt = "dark disc in test tissue"
group = "disc"
color = [200, 0, 0]
mpp = 0.5
synonyms = ["black disc"]

[[target]]
name = "light disc"
prompt = "light disc in test tissue"
group = "disc"
color = [0, 0, 200]
mpp = 0.5
"""
SETTINGS = {
    "name": "tiny",
    "ontology": "ontology.toml",
    "out": "out",
    "steps": 2,
    "batch": 2,
    "crop": 32,
    "tile": 64,
    "warmup_steps": 1,
    "check_every": 1,
    "log_every": 1,
    "device": "cpu",
}
TILES = TileSizes(64, 0, 4)
SIZES = {"channels": [8, 16], "blocks": [1, 1], "embedding": 8, "text_width": 16, "text_heads": 2, "buckets": 64}


def write_config(folder: Path, *, targets: Sequence[str] = ("dark disc",), **changes: Any) -> Path:
    """A training config of a tiny network, beside its ontology."""
    (folder / "ontology.toml").write_text(ONTOLOGY)
    settings = {**SETTINGS, "targets": list(targets), **changes}
    tables = {"sizes": SIZES, **{key: value for key, value in settings.items() if isinstance(value, dict)}}
    lines = [f"{key} = {orjson.dumps(value).decode()}" for key, value in settings.items() if key not in tables]
    for name, table in tables.items():
        lines += [
            f"[{name}]",
            *(f"{orjson.dumps(key).decode()} = {orjson.dumps(v).decode()}" for key, v in table.items()),
        ]
    path = folder / "train.toml"
    path.write_text("\n".join(lines))
    return path


def draw_disc(side: int = 48, x: int = 20, level: int = 60) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A disc on light tissue [side, side, 3], and where it is [side, side]."""
    rows, columns = np.mgrid[:side, :side]
    mask = np.hypot(rows - side / 2, columns - x) < side / 5
    pixels = np.where(mask, level, 220)[..., None] + np.random.default_rng(x).integers(0, 9, (side, side, 3))
    return pixels.astype(np.uint8), mask


def save_pair(image: Path, mask: Path, x: int = 20) -> None:
    """An image of a disc and its mask as files."""
    pixels, inside = draw_disc(x=x)
    for path, values in ((image, pixels), (mask, inside * np.uint8(255))):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)

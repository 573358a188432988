"""Write configs/train/glas-split.csv: GlaS as its contest divided it, part `train` to learn from, testA kept apart.

    WSIPARSE_SHARED_DATA=/path/to/data python -m benchmarks.split_glas

The contest's patients are not named, and some lie in both parts: what is measured on testA is the contest's figure, not
that of patients never seen.
"""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.split_open_1 import write_rows


def list_rows(data: Path) -> list[dict[str, str]]:
    """Rows of the examples table, sorted by name."""
    names = sorted(path.stem for path in (data / "glas/images").glob("*.webp"))
    return [
        {
            "image": f"glas/images/{name}.webp",
            "mask": f"glas/masks/{name}.png",
            "present": "glandular structure",
            "case": name,
            "part": "train" if name.startswith("train") else "test",
        }
        for name in names
    ]


def main() -> None:
    """Write the table."""
    path = Path(__file__).parents[1] / "configs/train/glas-split.csv"
    write_rows(path, list_rows(Path(os.environ["WSIPARSE_SHARED_DATA"])))


if __name__ == "__main__":
    main()

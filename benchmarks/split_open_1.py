"""Write configs/train/open-1-split.csv: which images wsiparse-open-1 learns from, and which it never sees.

The part follows from a hash of the case alone. EBHI-Seg is split by its case id. DSB2018 names no slides, so that
images which overlap one another (by a peak of the cross-correlation of their details) form one case.

open-1-bare.csv beside it has the same rows, the scale that DSB2018 is taken for and which of its images show no glands.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

TEST_SHARE = 0.2
GRADES = {
    "normal": "normal gland",
    "polyp": "polyp",
    "low-grade-in": "low-grade intraepithelial neoplasia",
    "high-grade-in": "high-grade intraepithelial neoplasia",
    "serrated-adenoma": "serrated adenoma",
    "adenocarcinoma": "colorectal adenocarcinoma",
}
SALT = "open-1/8"
"""The first of a few salts that puts cases of every grade into both parts; no result was looked at for it."""
OVERLAP_CORRELATION = 0.6
DSB_MPP = 0.5
BARE = {
    "train": (
        0, 2, 3, 5, 8, 9, 11, 15, 17, 19, 23, 25, 26, 27, 29, 32, 33, 38,
        39, 40, 41, 42, 46, 47, 48, 49, 50, 55, 61, 63, 65,
    ),
    "test": (0, 2, 3, 10, 12, 17, 21, 23),
}  # fmt: skip
"""Images of DSB2018 without glands, by their places among those of a part: lymphocytes, muscle, stroma; seen by eye."""
Row = dict[str, str]


def choose_part(case: str) -> str:
    """`test` for one case in five, by the SHA-256 of its name."""
    number = int(hashlib.sha256(f"{SALT}/{case}".encode()).hexdigest()[:8], 16) / 16**8
    return "test" if number < TEST_SHARE else "train"


def list_ebhi(data: Path) -> list[Row]:
    """Rows of EBHI-Seg; masks that are all foreground teach no outline and are excluded."""
    with open(data / "ebhi-seg/index.csv", encoding="utf-8", newline="") as file:
        return [_describe_ebhi(data, entry) for entry in csv.DictReader(file)]


def _describe_ebhi(data: Path, entry: Row) -> Row:
    mask = f"ebhi-seg/masks/{entry['name']}.png"
    full = bool(np.asarray(Image.open(data / mask)).min() > 0)
    part = choose_part(entry["case"])
    return {
        "image": f"ebhi-seg/images/{entry['name']}.webp",
        "mask": mask,
        "present": f"glandular structure;{GRADES[entry['class']]}",
        "case": entry["case"],
        "part": "excluded" if full and part == "train" else part,
    }


def list_dsb(data: Path) -> list[Row]:
    """Rows of DSB2018 in colour."""
    names = sorted(path.stem for path in (data / "dsb2018-colour/images").glob("*.webp"))
    images = [_read_gray(data / f"dsb2018-colour/images/{name}.webp") for name in names]
    cases = group_overlaps(names, images)
    return [
        {
            "image": f"dsb2018-colour/images/{name}.webp",
            "mask": f"dsb2018-colour/instances/{name}.png",
            "present": "nuclei",
            "case": cases[name],
            "part": choose_part(cases[name]),
        }
        for name in names
    ]


def _read_gray(path: Path) -> NDArray[np.float64]:
    gray = np.asarray(Image.open(path).convert("L").resize((160, 128), Image.Resampling.BOX), np.float64)
    detail: NDArray[np.float64] = gray - gaussian_filter(gray, 4)
    return detail / max(float(detail.std()), 1.0)


def group_overlaps(names: list[str], images: list[NDArray[np.float64]]) -> dict[str, str]:
    """The case of each image: the first name of those it overlaps, directly or through others."""
    spectra = [np.fft.rfft2(image, (256, 320)) for image in images]
    case = {name: name for name in names}
    for i, first in enumerate(names):
        for j in range(i + 1, len(names)):
            if measure_overlap(spectra[i], spectra[j], images[0].shape) > OVERLAP_CORRELATION:
                old, new = case[names[j]], case[first]
                case = {name: new if group == old else group for name, group in case.items()}
    return case


def measure_overlap(a: NDArray[np.complex128], b: NDArray[np.complex128], shape: tuple[int, ...]) -> float:
    """Largest correlation over all shifts that leave at least a fifth of the images in common."""
    height, width = shape
    sums = np.fft.irfft2(a * b.conj(), (256, 320))
    rows = np.minimum(np.arange(256), 256 - np.arange(256))
    columns = np.minimum(np.arange(320), 320 - np.arange(320))
    common = np.clip(height - rows, 0, None)[:, None] * np.clip(width - columns, 0, None)[None, :]
    return float(np.where(common > 0.2 * height * width, sums / np.maximum(common, 1), 0).max())


def add_absent(rows: list[Row]) -> list[Row]:
    """The rows with what they do not show, and the scale of DSB2018."""
    seen = {part: [row["image"] for row in rows if row["present"] == "nuclei" and row["part"] == part] for part in BARE}
    bare = {seen[part][place] for part, places in BARE.items() for place in places}
    glands = ";".join(["glandular structure", *GRADES.values()])
    return [
        {
            **row,
            "absent": glands if row["image"] in bare else "",
            "mpp": str(DSB_MPP) if row["present"] == "nuclei" else "",
        }
        for row in rows
    ]


def main() -> None:
    """Write the tables and print their counts."""
    data = Path(os.environ["WSIPARSE_SHARED_DATA"])
    rows = list_ebhi(data) + list_dsb(data)
    for name, table in (("split", rows), ("bare", add_absent(rows))):
        write_rows(Path(__file__).parents[1] / f"configs/train/open-1-{name}.csv", table)
    for (present, part), count in sorted(Counter((row["present"], row["part"]) for row in rows).items()):
        cases = len({row["case"] for row in rows if (row["present"], row["part"]) == (present, part)})
        print(f"{present:60s} {part:9s} {count:5d} images {cases:4d} cases")


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write one table."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()

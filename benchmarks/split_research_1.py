"""Write configs/train/research-1-split.csv, and pack what wsiparse-research-1 learns from at its working mpp.

    WSIPARSE_SHARED_DATA=/path/to/data python -m benchmarks.split_research_1

The packed images and masks (about 440 MB) go to train-out/research-1-data. EBHI-Seg and DSB2018 stay divided as for
wsiparse-open-1, GlaS and MoNuSeg as in their contests; CRCHistoPhenotypes names no patients, and a hash of an image's
name decides. Those two large ones, MoNuSeg and CRCHistoPhenotypes, are cut in quarters and so drawn more often.

A quarter of the nuclei of CRCHistoPhenotypes bear no point. What wsiparse-open-1 takes for a nucleus and no disc covers
is hidden, so that nobody learns them as background. Takes some minutes.
"""

from __future__ import annotations

import csv
import itertools
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree

from benchmarks.model_quality import DSB_MPP, GLAS_MPP, MONUSEG_MPP, ROOT, find_rescaled
from benchmarks.split_open_1 import choose_part, write_rows
from wsiparse.evaluation.names import IGNORED
from wsiparse.models.load import ModelSpec, load_model
from wsiparse.ontology import Ontology
from wsiparse.training.dataset import load_picture
from wsiparse.training.examples import COLUMNS, Example, read_examples

PACKED = ROOT / "train-out/research-1-data"
SPLIT = ROOT / "configs/train/research-1-split.csv"
GLAND_MPP, CELL_MPP = 1.5, 0.25
CRC_MPP = 0.55
CLASSES = {
    "epithelial": "epithelial cells",
    "fibroblast": "connective tissue cells",
    "inflammatory": "inflammatory cells",
    "others": "other cells",
}
"""CRCHistoPhenotypes' classes as targets, three of them by the names of BiomedParse's ontology."""
DISC_UM = 3.0
"""Radius of the disc that stands for a nucleus of which only the middle is known."""
GAP_PIXELS = 2.0
BEYOND, BETWEEN = -1, -2
"""Of no disc: too far from every point, or where two discs would touch."""
Mask = NDArray[np.bool_]
Numbers = NDArray[np.uint16]
Row = dict[str, str]


@dataclass(frozen=True)
class Packed:
    """An image at its working mpp, and where it shows each of some targets."""

    name: str
    image: Image.Image
    masks: Mapping[str, Mask | Numbers]
    """By the targets that a mask outlines, parted by `;`; 0 is none of them, objects may be numbered."""
    part: str
    case: str

    def write(self) -> Iterator[Row]:
        """Write image and masks; a row for each mask."""
        image = f"{self.name}.png"
        (PACKED / image).parent.mkdir(parents=True, exist_ok=True)
        self.image.save(PACKED / image)
        for n, (present, mask) in enumerate(self.masks.items()):
            path = f"{self.name}_mask{n}.png"
            Image.fromarray(mask).save(PACKED / path)
            yield dict(zip(COLUMNS, (image, path, present, self.case, self.part), strict=True))

    def quarter(self) -> Iterator[Packed]:
        """Its four quarters, each with what it shows."""
        height, width = self.image.height // 2, self.image.width // 2
        for n, (top, left) in enumerate(itertools.product((0, height), (0, width))):
            parts = {name: mask[top : top + height, left : left + width] for name, mask in self.masks.items()}
            shown = {name: mask for name, mask in parts.items() if mask.any()}
            image = self.image.crop((left, top, left + width, top + height))
            yield Packed(f"{self.name}_{n}", image, shown, self.part, self.case)


def pack_example(example: Example, name: str, scale: float, numbered: Path | None = None) -> Packed:
    """One image and its mask, `scale` times as large; the mask's objects are told apart by a file that numbers them.

    A mask's pixel counts where half of it is covered, and takes the number of the nearest object.
    """
    picture = load_picture(example)
    image = Image.fromarray(picture.pixels)
    size = (round(image.width * scale), round(image.height * scale))
    covered = Image.fromarray(picture.mask.astype(np.float32)).resize(size, Image.Resampling.BOX)
    numbers = np.asarray(Image.open(numbered or example.mask).resize(size, Image.Resampling.NEAREST))
    _, nearest = ndimage.distance_transform_edt(numbers == 0, return_indices=True)
    mask = np.where(np.asarray(covered) >= 0.5, numbers[tuple(nearest)], 0).astype(np.uint16)
    resized = image.resize(size, Image.Resampling.LANCZOS)
    return Packed(name, resized, {";".join(example.present): mask}, example.part, example.case)


def pack_tables(data: Path) -> Iterator[Packed]:
    """What the tables of wsiparse-open-1 and of GlaS name; of GlaS the part `train` alone."""
    scales = {"ebhi-seg": 1.0, "dsb2018-colour": DSB_MPP / CELL_MPP, "glas": GLAS_MPP / GLAND_MPP}
    open_1 = read_examples(ROOT / "configs/train/open-1-split.csv", data)
    glas = [e for e in read_examples(ROOT / "configs/train/glas-split.csv", data) if e.part == "train"]
    for example in (*open_1, *glas):
        source = example.image.relative_to(data).parts[0]
        if example.part != "excluded":
            yield pack_example(example, f"{source}/{example.image.stem}", scales[source])


def pack_monuseg(data: Path) -> Iterator[Packed]:
    """Quarters of the part `train`, the nuclei numbered where there is a file that does."""
    for path in sorted((data / "monuseg/train").glob("*.webp")):
        example = Example(path, path.with_suffix(".png"), ("nuclei",), path.stem, "train")
        numbered = path.with_name(f"{path.stem}_instances.png")
        given = numbered if numbered.exists() else None
        yield from pack_example(example, f"monuseg/{path.stem}", MONUSEG_MPP / CELL_MPP, given).quarter()


def pack_crchisto(data: Path) -> Iterator[Packed]:
    """Quarters of all images, with a disc for each point, and what else may be a nucleus hidden."""
    teacher = load_model(ModelSpec(device="cpu"))
    target = Ontology(teacher.targets).find("nuclei")
    for path in sorted((data / "crchisto/images").glob("*.webp")):
        case = f"crchisto/{path.stem}"
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        points, classes = read_points(path.with_suffix(".csv"))
        side = round(image.width * CRC_MPP / CELL_MPP)
        nearest = find_discs(points * CRC_MPP / CELL_MPP, side, DISC_UM / CELL_MPP)
        masks = {CLASSES[name]: np.isin(nearest, np.flatnonzero(classes == name)) for name in CLASSES}
        resized = image.resize((side, side), Image.Resampling.LANCZOS)
        masks[IGNORED] = find_rescaled(teacher, np.asarray(resized), target, 1.0) & (nearest == BEYOND)
        yield from Packed(case, resized, masks, choose_part(case), case).quarter()


def read_points(path: Path) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Points [N, 2] as x and y in pixels, and their classes [N]."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    points = np.array([(row["x_px"], row["y_px"]) for row in rows], np.float64).reshape(-1, 2)
    return points, np.array([row["class"] for row in rows], np.str_)


def find_discs(points: NDArray[np.float64], side: int, radius: float) -> NDArray[np.int64]:
    """Number [side, side] of the point nearest to each pixel, BEYOND `radius` of all, BETWEEN two that are as near."""
    pixels = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1) + 0.5
    distances, nearest = cKDTree(points).query(pixels, 2)
    alone = distances[..., 1] - distances[..., 0] > GAP_PIXELS
    return np.where(distances[..., 0] > radius, BEYOND, np.where(alone, nearest[..., 0], BETWEEN))


def main() -> None:
    """Pack everything, write the table and print its counts."""
    data = Path(os.environ["WSIPARSE_SHARED_DATA"])
    shutil.rmtree(PACKED, ignore_errors=True)
    packed = itertools.chain(pack_tables(data), pack_monuseg(data), pack_crchisto(data))
    rows = [row for one in packed for row in one.write()]
    write_rows(SPLIT, rows)
    counts = Counter((row["image"].split("/")[0], row["present"], row["part"]) for row in rows)
    for (source, present, part), count in sorted(counts.items()):
        print(f"{source:16s} {present:60s} {part:6s} {count:5d} masks")


if __name__ == "__main__":
    main()

"""Write configs/train/cmu-1-nuclei.png: the nuclei of the CMU-1 region, told by their stain and by a model together.

    wsiparse run tests/data/CMU-1-Small-Region.svs -o RUN --targets nuclei --views 8
    python -m benchmarks.label_cmu_1 RUN

Nobody outlined this slide, and DSB2018 shows no tissue like it. Haematoxylin takes red light, eosin hardly any: what is
darker in red than Otsu's border (1979) between the slide's tissue and its nuclei, and of a nucleus' size, is one where
the model's eight views together agree or what lies around it is much lighter. What is as dark and neither, what the
model is sure of and is not dark, the rim of a nucleus, green marks and the region that `make demo` draws are hidden
(`Ignore*`): nothing is learned there.

The picture is a label image at 0.25 µm per pixel, with its legend beside it. The run of the one that ships was by the
weights after their sixth sitting. Takes a minute.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu

from wsiparse.evaluation.names import IGNORED
from wsiparse.geometry import Region
from wsiparse.maps.canvas import list_canvases, read_region
from wsiparse.slides.open import describe, make_reader
from wsiparse.tiles.resample import read_grid

SLIDE = "CMU-1-Small-Region"
ROOT = Path(__file__).parents[1]
LABELS = ROOT / "configs/train/cmu-1-nuclei.png"
AREAS = (150, 6000)
"""Pixels of 0.25 µm that a nucleus has, or two that touch: 9 to 375 µm²."""
LIGHTER = 0.55
"""Optical density in red by which what lies around a nucleus is lighter than it, where that alone must do."""
DRAWN = Region(950, 500, 600, 450)
"""What `make demo` draws, in pixels of level 0."""
AGREES, SURE = 0.35, 0.75
"""Mean probability of a part that the model takes for a nucleus, and probability of what it is sure of."""
AROUND, RIM = 15, 2
NUCLEUS, HIDDEN = 1, 2
LEGEND = {NUCLEUS: "nuclei", HIDDEN: IGNORED}
Density = NDArray[np.float32]
Mask = NDArray[np.bool_]


def main() -> None:
    """Label the slide with what a run found in it."""
    (canvas,) = list_canvases(Path(sys.argv[1], SLIDE, "parse.zarr"))
    slide = describe(ROOT / f"tests/data/{SLIDE}.svs")
    pixels = read_grid(make_reader(slide), canvas.grid, canvas.grid.region)
    found = read_region(canvas, canvas.grid.region)[0].astype(np.float32) / 255
    labels = label_nuclei(pixels, found)
    labels[canvas.grid.cover(DRAWN, slide.grid).slices] = HIDDEN
    Image.fromarray(labels).save(LABELS, optimize=True)
    LABELS.with_suffix(".json").write_text(json.dumps(LEGEND) + "\n")
    print(LABELS, {name: round(float((labels == code).mean()), 4) for code, name in LEGEND.items()})


def label_nuclei(pixels: NDArray[np.uint8], found: Density) -> NDArray[np.uint8]:
    """Codes [H, W] of RGB pixels [H, W, 3] and a model's probabilities."""
    density = measure_red(pixels)
    tissue = ndimage.gaussian_filter((pixels.min(-1) < 215).astype(np.float32), 3) > 0.5
    border = threshold_otsu(density[tissue])  # type: ignore[no-untyped-call]
    dark = density > border
    nuclei = choose_parts(dark, density, found)
    nuclei = ndimage.binary_fill_holes(ndimage.binary_opening(nuclei, iterations=RIM))
    rim = ndimage.binary_dilation(nuclei, iterations=RIM) & (density > 0.85 * border)
    doubted = (found > SURE) & (density > 0.6 * border)
    hidden = dark | doubted | rim | find_green(pixels)
    return np.where(nuclei, NUCLEUS, np.where(hidden, HIDDEN, 0)).astype(np.uint8)


def measure_red(pixels: NDArray[np.uint8]) -> Density:
    """Optical density in red [H, W], smoothed over a third of a micrometre."""
    density = -np.log(np.maximum(pixels[..., 0], 1) / np.float32(245))
    smooth: Density = ndimage.gaussian_filter(density, 1.2)
    return smooth


def choose_parts(dark: Mask, density: Density, found: Density) -> Mask:
    """The connected dark parts that are nuclei."""
    parts, count = ndimage.label(dark)
    numbers = np.arange(count + 1)
    areas = np.bincount(parts.ravel())
    sized = (areas >= AREAS[0]) & (areas <= AREAS[1])
    sized[0] = False
    near = ndimage.grey_dilation(np.where(sized[parts], parts, 0), size=(AROUND, AROUND))
    around = np.where(dark, 0, near)
    with np.errstate(invalid="ignore"):  # parts too small or large have nothing around them
        contrast = ndimage.mean(density, parts, numbers) - ndimage.mean(density, around, numbers)
    chosen = sized & ((ndimage.mean(found, parts, numbers) > AGREES) | (contrast > LIGHTER))
    return np.asarray(chosen[parts])


def find_green(pixels: NDArray[np.uint8]) -> Mask:
    """Marks of ink: greener than red, and what lies beside."""
    green = pixels[..., 1].astype(np.int16) - pixels[..., 0] > 18
    return np.asarray(ndimage.binary_dilation(green, iterations=4))


if __name__ == "__main__":
    main()

"""How fast are tiles read, next to OpenSlide and to the bare JPEG decoder?

    python -m benchmarks.read_tiles

The slide is the CMU-1 region mirrored to 8192², as tiled JPEG of 256 and 240 pixels; tile sides of 512 and 1024 are
read on the stored tiles' corners (aligned) and off them. "raw" decodes, one after the other, all stored tiles that such
a read touches, and throws them away. Rivals take turns on the same tile positions, each after one read that is not
counted; MP/s are the median over the turns by the clock, and ratios the median of the turns' ratios by seconds of
processor time, which hardly depend on what else the machine does.
With WSIPARSE_SHARED_DATA set, a JPEG2000 slide is read as well, where OpenSlide does the work for both.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import openslide

from benchmarks.report import Row, print_table, write_result
from tests.drawing import mirror_cmu_1, write_slide
from wsiparse.geometry import Region
from wsiparse.slides.jpeg_tiff import JpegTiffReader
from wsiparse.slides.levels import cut_region
from wsiparse.slides.open import describe, open_slide
from wsiparse.slides.slide import Pixels
from wsiparse.slides.tiff import TiledLevel, read_jpeg_levels

SIDE = 8192
TURNS = 5
REGIONS = 9
Read = Callable[[Region], object]


@dataclass(frozen=True)
class Case:
    """One slide, one size and place of the tiles that are asked for."""

    path: Path
    stored: int
    tile: int
    aligned: bool
    threads: int

    def choose_regions(self, turn: int, side: int = SIDE) -> list[Region]:
        """Scattered positions, new ones each turn, so that no rival profits from what another turn left in a cache."""
        rng = np.random.default_rng(turn)
        places = rng.integers(0, (side - self.tile) // self.stored, (REGIONS, 2)) * self.stored
        shift = 0 if self.aligned else self.stored // 2 + 3
        return [Region(int(x) + shift, int(y) + shift, self.tile, self.tile) for x, y in places]


@dataclass(frozen=True)
class Turn:
    """What one rival took for the tiles of one turn."""

    megapixels: float
    seconds: float
    processor_seconds: float


class OpenSlideRival:
    """OpenSlide as its users call it: read_region, then RGB as an array."""

    def __init__(self, path: Path) -> None:
        self._slide = openslide.OpenSlide(path)

    def read(self, region: Region) -> Pixels:
        """RGB of a region of level 0, uint8 [h, w, 3]."""
        image = self._slide.read_region((region.x, region.y), 0, (region.width, region.height))
        return np.asarray(image.convert("RGB"))


class RawRival:
    """The decoder alone, on all stored tiles that a region touches."""

    def __init__(self, path: Path, level: TiledLevel) -> None:
        self._file = path.open("rb")
        self._level = level

    def read(self, region: Region) -> None:
        """Decode and forget."""
        for part in cut_region(region, self._level.tile):
            index = self._level.index_at(part)
            data = os.pread(self._file.fileno(), int(self._level.counts[index]), int(self._level.offsets[index]))
            imagecodecs.jpeg8_decode(
                data, tables=self._level.tables, colorspace=self._level.colorspace, outcolorspace="RGB"
            )


def measure_case(case: Case) -> Row:
    """Megapixels a second of each rival, and their ratios."""
    slide = describe(case.path)
    levels = read_jpeg_levels(case.path, [(grid.width, grid.height) for grid in slide.levels])
    ours = JpegTiffReader(slide, levels, threads=case.threads)
    openslide_rival, raw = OpenSlideRival(case.path), RawRival(case.path, levels[0])
    for region in case.choose_regions(turn=99)[:2]:
        if not np.array_equal(ours.read_region(region, 0), openslide_rival.read(region)):
            raise SystemExit(f"{case}: pixels differ from OpenSlide's")
    rivals: dict[str, Read] = {
        "wsiparse": lambda region: ours.read_region(region, 0),
        "raw": raw.read,
        "openslide": openslide_rival.read,
    }
    turns = take_turns(rivals, case, callers={"openslide": case.threads, "raw": case.threads})
    return {
        "stored tile": case.stored,
        "tile": case.tile,
        "place": "aligned" if case.aligned else "unaligned",
        "threads": case.threads,
        **summarize_turns(turns),
    }


def take_turns(rivals: dict[str, Read], case: Case, callers: dict[str, int], side: int = SIDE) -> dict[str, list[Turn]]:
    """All rivals' turns; `callers` threads call a rival at once, by default one."""
    turns: dict[str, list[Turn]] = {name: [] for name in rivals}
    for number in range(TURNS):
        regions = case.choose_regions(number, side)
        names = list(rivals)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            turns[name].append(time_reads(rivals[name], regions, callers.get(name, 1)))
    return turns


def time_reads(read: Read, regions: Sequence[Region], callers: int) -> Turn:
    """Read the first region to settle, then time the others."""
    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(read, [regions[0]] * callers))
        clock, processor = time.perf_counter(), time.process_time()
        list(pool.map(read, regions[1:]))
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
    return Turn(sum(region.area for region in regions[1:]) / 1e6, clock, processor)


def summarize_turns(turns: dict[str, list[Turn]]) -> Row:
    """Median speeds by the clock, and how many times the work a processor second of ours does of each rival's."""
    speeds = {f"{name} MP/s": statistics.median(t.megapixels / t.seconds for t in own) for name, own in turns.items()}
    ratios = {
        f"× {name}": statistics.median(
            b.processor_seconds / a.processor_seconds for a, b in zip(ours, own, strict=True)
        )
        for ours in [turns["wsiparse"]]
        for name, own in turns.items()
        if name != "wsiparse"
    }
    return {name: round(value, 2) for name, value in (speeds | ratios).items()}


def measure_jpeg2000(path: Path) -> Row:
    """Tiles of a JPEG2000 slide, which both read through OpenSlide."""
    reader, rival = open_slide(path, mpp=0.25), OpenSlideRival(path)
    rivals: dict[str, Read] = {"wsiparse": lambda region: reader.read_region(region, 0), "openslide": rival.read}
    turns = take_turns(rivals, Case(path, 256, 512, True, 1), {}, side=3500)
    place = {"stored tile": 256, "tile": 512, "place": "JPEG2000", "threads": 1}
    return place | dict(summarize_turns(turns))


def list_cases(folder: Path) -> Iterator[Case]:
    """All slides, tile sizes, places and threads."""
    for stored in (256, 240):
        path = write_slide(folder / f"{stored}.svs", (SIDE, SIDE), 0.5, mirror_cmu_1(), tile=stored)
        for tile in (512, 1024):
            for aligned in (True, False):
                for threads in (1, 2):
                    yield Case(path, stored, tile, aligned, threads)


def main() -> None:
    """Measure all cases, print the table and write the result."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure_case(case) for case in list_cases(Path(folder))]
    shared = os.environ.get("WSIPARSE_SHARED_DATA")
    if shared:
        rows.append(measure_jpeg2000(Path(shared, "slides", "tcga-cr-7395-01a-01-ts1.svs")))
    print_table("tiles read", rows)
    print(write_result("read_tiles", rows))


if __name__ == "__main__":
    main()

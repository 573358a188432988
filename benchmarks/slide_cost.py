"""What does BiomedParse cost on a whole slide: tiles, operations, and hours at a stated rate?

    python -m benchmarks.slide_cost [PEAK_TFLOPS]

Arithmetic, nothing is timed. A slide of 100,000 × 80,000 pixels at 0.25 µm, 30 % of it tissue. Operations are counted
on the network of the published size. Minutes assume a share of the peak that the maker of a GPU states for bfloat16
without sparsity (989 TFLOP/s unless given, an H100 or H200); which share is reached was not measured. Tiles are tissue
over the area of a core; cores that tissue only touches come on top.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from benchmarks.prompts import count_flops
from benchmarks.report import Row, print_table, write_result

TISSUE_UM2 = 0.30 * 100_000 * 80_000 * 0.25**2
PEAK_TFLOPS = 989.0
SHARES = (0.2, 0.4)


@dataclass(frozen=True)
class Setting:
    """One pass and how it is cut."""

    name: str
    prompts: int
    mpp: float
    tile: int
    overlap: int
    side: int = 1024

    @property
    def tiles(self) -> float:
        """Cores that tissue fills."""
        return TISSUE_UM2 / ((self.tile - self.overlap) * self.mpp) ** 2


SETTINGS = (
    Setting("cells, as trained", 4, 0.25, 256, 64),
    Setting("glands, as trained", 1, 0.62, 768, 128),
    Setting("cells, 20 prompts", 20, 0.25, 256, 64),
    Setting("cells, overlap 32", 4, 0.25, 256, 32),
    Setting("cells, input 512", 4, 0.25, 256, 64, side=512),
    Setting("cells, field 128 µm", 4, 0.25, 512, 128),
    Setting("cells, field 128 µm, input 512", 4, 0.25, 512, 128, side=512),
    Setting("glands, input 512", 1, 0.62, 768, 128, side=512),
)


def main() -> None:
    """Print and write the table."""
    peak = float(sys.argv[1]) if sys.argv[1:] else PEAK_TFLOPS
    rows = [price(setting, peak) for setting in SETTINGS]
    print_table("A slide of 150 mm² of tissue", rows)
    print(write_result("slide_cost", rows))


def price(setting: Setting, peak: float) -> Row:
    """Tiles, operations and minutes of one pass."""
    tile_tflop = count_flops(1, setting.prompts, setting.side) / 1e12
    total = setting.tiles * tile_tflop
    minutes = {f"minutes_at_{share:.0%}_of_peak": total / (peak * share) / 60 for share in SHARES}
    return {
        "setting": setting.name,
        "tiles": round(setting.tiles),
        "tflop_a_tile": tile_tflop,
        "pflop": total / 1e3,
        "peak_tflops": peak,
        **minutes,
    }


if __name__ == "__main__":
    main()

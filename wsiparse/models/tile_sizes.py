"""Which tiles a model takes, and what they cost in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from wsiparse.models.model import Model

SLACK = 0.1
"""How far, at most, the side of a tile may lie from what a field of view asks for."""


@runtime_checkable
class ElasticModel(Protocol):
    """What a model has besides that takes tiles of other sides than its own."""

    @property
    def stride(self) -> int:
        """Heights and widths are multiples of it."""

    @property
    def pixel_bytes(self) -> int:
        """Memory that each further pixel of a tile takes at the peak of the forward pass."""


@dataclass(frozen=True)
class TileSizes:
    """The sides of the tiles that a model takes, in pixels."""

    own: int
    """Side of its own tile."""
    own_bytes: int
    """Memory that one tile of this side takes."""
    stride: int = 0
    """Other sides are multiples of it; 0 where the model takes its own tile alone."""
    pixel_bytes: int = 0
    """Memory that each further pixel takes."""

    def fit(self, pixels: float) -> int | None:
        """The side nearest to `pixels`; None where that is more than a tenth away."""
        near = max(round(pixels / self.stride), 1) * self.stride if self.stride else self.own
        return near if abs(near / pixels - 1) <= SLACK else None

    def cover(self, pixels: int) -> int | None:
        """The smallest side that shows so many pixels at once; None where the model takes its own tile alone."""
        return -(-pixels // self.stride) * self.stride if self.stride else None

    def count_bytes(self, side: int) -> int:
        """Memory that one tile takes at the peak of its forward pass."""
        return self.own_bytes + self.pixel_bytes * (side**2 - self.own**2)


def measure_tiles(model: Model) -> TileSizes:
    """What a model says of its tiles."""
    if isinstance(model, ElasticModel):
        return TileSizes(model.tile, model.tile_bytes, model.stride, model.pixel_bytes)
    return TileSizes(model.tile, model.tile_bytes)

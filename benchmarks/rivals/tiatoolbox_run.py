"""TIAToolbox's SemanticSegmentor on one slide, as it comes: probabilities kept, Zarr out.

    .peers/bin/python -m benchmarks.rivals.tiatoolbox_run SLIDE OUT full|tissue

Imports of this environment alone. `tissue` lets TIAToolbox find the tissue itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tiatoolbox.models.engine.io_config import IOSegmentorConfig
from tiatoolbox.models.engine.semantic_segmentor import SemanticSegmentor
from tiatoolbox.models.models_abc import ModelABC

from benchmarks.rivals.marks import Marks
from benchmarks.tiny_network import OVERLAP, STRIDE, TILE, TinyNetwork


class TinyModel(ModelABC):  # type: ignore[misc] # comes without types
    """The network as this engine asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = TinyNetwork()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Probabilities at the size of the tile, float32 [N, tile, tile, 6]."""
        found = self.network(pixels)
        return torch.nn.functional.interpolate(found, scale_factor=STRIDE, mode="nearest").permute(0, 2, 3, 1)

    @staticmethod
    def infer_batch(model: TinyModel, batch: torch.Tensor, *, device: str = "cpu") -> NDArray[np.float32]:
        """Probabilities of a batch of tiles uint8 [N, tile, tile, 3]."""
        with torch.inference_mode():
            found: NDArray[np.float32] = model(batch.to(device)).cpu().numpy()
        return found


def main(slide: str, output: str, area: str) -> None:
    """Segment the slide and print when the work began and ended."""
    at = {"units": "baseline", "resolution": 1.0}
    side = (TILE, TILE)
    stride = (TILE - OVERLAP, TILE - OVERLAP)
    config = IOSegmentorConfig(
        input_resolutions=[at],
        output_resolutions=[at],
        patch_input_shape=side,
        patch_output_shape=side,
        stride_shape=stride,
        save_resolution=at,
    )
    marks = Marks()
    SemanticSegmentor(model=TinyModel(), verbose=False).run(
        images=[Path(slide)],
        patch_mode=False,
        ioconfig=config,
        output_type="zarr",
        save_dir=Path(output),
        overwrite=True,
        return_probabilities=True,
        auto_get_mask=area == "tissue",
    )
    marks.set("ended")
    marks.print()


if __name__ == "__main__":
    main(*sys.argv[1:4])

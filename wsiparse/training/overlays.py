"""Pictures of what a network finds on samples kept apart, drawn while it learns."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from wsiparse.files import write_whole
from wsiparse.ontology import Ontology
from wsiparse.training.batches import Batch

ZOOM = 2
"""Sides of a pixel in the picture."""
_GAP = 4
T = TypeVar("T", bound=np.generic)


def draw_overlays(path: Path, batch: Batch, predicted: Tensor, ontology: Ontology) -> None:
    """Write a PNG with a row a sample: the image, the reference's outlines on it, and the prediction's.

    Batch and `predicted` [N, K, H, W] are of the samples to be drawn; each target has its own colour.
    """
    pixels = batch.images.mul(255).byte().permute(0, 2, 3, 1).numpy()
    truth, found = (masks.bool().numpy() for masks in (batch.truth, predicted))
    rows = [_draw_row(*row, ontology) for row in zip(pixels, truth, found, strict=True)]
    with write_whole(path) as partial:
        Image.fromarray(np.concatenate(rows)).save(partial, format="PNG")


def _draw_row(
    pixels: NDArray[np.uint8], truth: NDArray[np.bool_], found: NDArray[np.bool_], ontology: Ontology
) -> NDArray[np.uint8]:
    large = _enlarge(pixels)
    panels = [large, _outline(large, truth, ontology), _outline(large, found, ontology)]
    framed = [np.pad(panel, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255) for panel in panels]
    return np.concatenate(framed, 1)


def _outline(pixels: NDArray[np.uint8], masks: NDArray[np.bool_], ontology: Ontology) -> NDArray[np.uint8]:
    drawn = pixels.copy()
    for target, mask in zip(ontology.targets, masks, strict=False):
        large = _enlarge(mask)
        drawn[large & ~ndimage.binary_erosion(large, border_value=1)] = target.color
    return drawn


def _enlarge(values: NDArray[T]) -> NDArray[T]:
    return values.repeat(ZOOM, 0).repeat(ZOOM, 1)

"""Nuclei as other tissues show them than those that are learned from: pale, clear inside, or amid dark cytoplasm.

Random numbers come from a NumPy generator alone, so that a crop follows from its seed.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wsiparse.training.noise import draw_field, draw_patches

TISSUE_DENSITY = 0.08
"""Mean optical density above which a pixel shows more than glass."""


def fade_objects(images: Tensor, objects: Tensor, random: np.random.Generator, share: float) -> Tensor:
    """Images [N, 3, H, W] in 0..1 with less contrast between small objects [N, 1, H, W] and what lies around them.

    A `share` of the images is changed: half of those become pale within their objects but for a rim, as vesicular
    nuclei are; in the others patches of the tissue around come nearer to the objects' density, as dark cytoplasm does.
    """
    if not share:
        return images
    density = -torch.log(images.clamp(min=1 / 256))
    faded = [_fade(*pair, random) for pair in zip(density, objects, strict=True)]
    chosen = torch.from_numpy(random.random((len(images), 1, 1, 1)) < share)
    return torch.where(chosen, torch.exp(-torch.stack(faded)), images)


def _fade(density: Tensor, objects: Tensor, random: np.random.Generator) -> Tensor:
    """Density [3, H, W] of one image, either its objects [1, H, W] paler or the tissue around them darker."""
    tissue = (density.mean(0, keepdim=True) > TISSUE_DENSITY) & (objects == 0)
    inner, outer = (_average_within(density, where) for where in (objects, tissue.float()))
    if random.random() < 1 / 2:
        way = draw_patches(density.shape, random, (16, 64), 0.9)
        rim = int(random.integers(1, 6))
        filled = functional.avg_pool2d(objects[None], 2 * rim + 1, 1, rim, count_include_pad=False)[0]
        return torch.lerp(density, torch.minimum(density, outer), way * (4 * filled - 3).clamp(min=0))
    # Patches as small as nuclei would look like some.
    way = draw_patches(density.shape, random, (2, 6), 0.6)
    return torch.lerp(density, torch.maximum(density, inner), way * tissue)


def clear_objects(images: Tensor, objects: Tensor, random: np.random.Generator, share: float) -> Tensor:
    """Images [N, 3, H, W] in 0..1, in a `share` of which small objects [N, 1, H, W] are clear but for rim and grains.

    So look vesicular nuclei, whose inside may be brighter than the tissue around. Images without objects stay.
    """
    chosen = [n for n, here in enumerate(objects) if share and here.any() and random.random() < share]
    changed = images.clone() if chosen else images
    for n in chosen:
        density = -torch.log(images[n].clamp(min=1 / 256))
        changed[n] = torch.exp(-_clear(density, objects[n], random))
    return changed


def _clear(density: Tensor, objects: Tensor, random: np.random.Generator) -> Tensor:
    """Density [3, H, W] of one image whose objects [1, H, W] are clear inside, where patches want it."""
    rim = int(random.integers(1, 4))
    inside = 4 * functional.avg_pool2d(objects[None], 2 * rim + 1, 1, rim, count_include_pad=False)[0] - 3
    grains = (3 * (_draw_blobs(density.shape, random) - random.uniform(0.3, 2.0))).sigmoid()
    patches = (2 * draw_patches(density.shape, random, (2, 16), 1.0)).clamp(max=1)
    return density * (1 - inside.clamp(min=0) * (1 - grains) * patches * random.uniform(0.5, 0.97))


def _draw_blobs(shape: torch.Size, random: np.random.Generator) -> Tensor:
    """A smooth field [1, H, W] around 0, of 4 to 12 pixels a blob."""
    side = shape[-1]
    return draw_field((1, *shape[-2:]), random, (max(side // 12, 1), max(side // 4, 2)))[0]


def _average_within(density: Tensor, where: Tensor) -> Tensor:
    mean: Tensor = (density * where).sum((1, 2), keepdim=True) / where.sum().clamp(min=1)
    return mean

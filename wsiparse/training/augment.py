"""Changes to training crops that a slide of another laboratory would bring: place, size, stain, light and glass.

Random numbers come from a NumPy generator alone, so that a crop follows from its seed.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wsiparse.training.dataset import Picture
from wsiparse.training.noise import draw_field, draw_normal

STAINS = torch.tensor([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Optical density of haematoxylin, eosin and DAB in red, green, blue (Ruifrok and Johnston 2001)."""


def warp_picture(picture: Picture, side: int, scales: tuple[float, float], random: np.random.Generator) -> Tensor:
    """A crop [3 + L + 1, side, side] of `Picture.stack` in 0..1, at a random place, size, angle and mirror.

    `scales` bound the magnification; what lies outside the picture is its mirror image.
    """
    scale = math.exp(random.uniform(math.log(scales[0]), math.log(scales[1])))
    angle = random.integers(4) * math.pi / 2 + random.choice([0.0, random.uniform(-0.6, 0.6)])
    flip = random.choice([-1.0, 1.0])
    height, width = picture.pixels.shape[:2]
    turn = np.array([[math.cos(angle) * flip, -math.sin(angle)], [math.sin(angle) * flip, math.cos(angle)]]) / scale
    # In the frame of affine_grid the picture spans -1..1; the crop's half side is side / 2 pixels.
    linear = turn * side / np.array([[width], [height]])
    free = np.clip(np.array([width, height]) - side / scale, 0, None) / np.array([width, height])
    matrix = np.column_stack([linear, random.uniform(-1, 1, 2) * free])
    source = torch.from_numpy(picture.stack())[None].float() / 255
    grid = functional.affine_grid(
        torch.from_numpy(matrix)[None].float(), [1, *source.shape[1:2], side, side], align_corners=False
    )
    return functional.grid_sample(source, grid, padding_mode="reflection", align_corners=False)[0]


def jitter_stain(images: Tensor, random: np.random.Generator, strength: float) -> Tensor:
    """Images [N, 3, H, W] in 0..1 as if stained elsewhere: other strengths, other colours of the stains, some eosin."""
    count = len(images)
    density = -torch.log(images.clamp(min=1 / 256))
    amounts = torch.einsum("nchw,cs->nshw", density, torch.linalg.inv(STAINS))
    gain = draw_normal(random, (count, 3, 1, 1), 1, 0.3 * strength).clamp(min=0.2)
    shift = draw_normal(random, (count, 3, 1, 1), 0, 0.06 * strength)
    colors = STAINS + draw_normal(random, (count, 3, 3), 0, 0.08 * strength)
    density = torch.einsum("nshw,nsc->nchw", amounts * gain + shift, colors)
    density = density + _draw_clouds(images.shape, random, strength) * colors[:, 1, :, None, None]
    return torch.exp(-density.clamp(0, 5.5))


def swap_stains(images: Tensor, random: np.random.Generator, share: float) -> Tensor:
    """Images [N, 3, H, W] in 0..1, a `share` of which comes as strongly stained as another one of them.

    Mean and deviation of each stain's density move a random part of the way to the other's (Reinhard et al. 2001, in
    density).
    """
    amounts = torch.einsum("nchw,cs->nshw", -torch.log(images.clamp(min=1 / 256)), torch.linalg.inv(STAINS))
    deviation, mean = torch.std_mean(amounts, (2, 3), keepdim=True)
    other = torch.from_numpy(random.permutation(len(images)))
    way = torch.from_numpy(random.random((len(images), 1, 1, 1)) * (random.random((len(images), 1, 1, 1)) < share))
    gain = (deviation[other] / deviation.clamp(min=1e-3)).clamp(0.4, 2.5)
    moved = (amounts - mean) * gain + mean[other]
    density = torch.einsum("nshw,sc->nchw", torch.lerp(amounts, moved, way.float()), STAINS)
    return torch.exp(-density.clamp(0, 5.5))


def _draw_clouds(shape: torch.Size, random: np.random.Generator, strength: float) -> Tensor:
    """Smooth patches of extra density [N, 1, H, W] in one image of three, as connective tissue has."""
    clouds = draw_field((shape[0], *shape[-2:]), random, (3, 24)).clamp(min=0)
    amount = random.uniform(0, 0.5 * strength, (shape[0], 1, 1, 1)) * (random.random((shape[0], 1, 1, 1)) < 1 / 3)
    return clouds * torch.from_numpy(amount).float()


def jitter_light(images: Tensor, random: np.random.Generator, strength: float) -> Tensor:
    """Images [N, 3, H, W] under another lamp and scanner: brightness, contrast, gamma, saturation, blur and noise."""
    one = (len(images), 1, 1, 1)
    gray = images.mean(1, keepdim=True)
    images = gray + (images - gray) * draw_normal(random, one, 1, 0.25 * strength)
    images = images.clamp(0.004, 1) ** torch.exp(draw_normal(random, one, 0, 0.2 * strength))
    images = 1 - (1 - images) * draw_normal(random, one, 1, 0.12 * strength)
    images = images * (1 - draw_normal(random, (len(images), 3, 1, 1), 0, 0.05 * strength).abs())
    soft = functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    share = torch.from_numpy(random.uniform(-0.5, 1, one) * (random.random(one) < 0.4)).float()  # below 0 sharpens
    images = images + (soft - images) * share
    return (images + draw_normal(random, tuple(images.shape), 0, 0.012 * strength)).clamp(0, 1)


def blank_corners(crops: Tensor, random: np.random.Generator, share: float, strand_share: float = 0.0) -> Tensor:
    """Crops [N, 3 + C, H, W] of which a `share` shows empty glass: all of it, or beyond a straight edge.

    Over a `strand_share` of the glass go thin strands of tissue, as fat leaves them. Where the glass is, the masks are
    empty and nothing is hidden.
    """
    for crop in [crop for crop in crops if random.random() < share]:
        glass = torch.from_numpy(random.uniform(0.84, 1.0, 3)).float()[:, None, None]
        if strand_share and random.random() < strand_share:
            glass = glass * _draw_strands(crop.shape[-1], random)
        cover_side(crop, glass, random)
    return crops


def cover_side(crop: Tensor, image: Tensor, random: np.random.Generator) -> None:
    """Put an image over all of a crop [3 + C, H, W] or beyond a straight edge, where its masks become empty."""
    side = crop.shape[-1]
    places = torch.arange(side).float() / side - 0.5
    angle, reach = random.uniform(0, 2 * math.pi), random.choice([-1.0, random.uniform(-0.2, 0.6)])
    beyond = math.cos(angle) * places[None, :] + math.sin(angle) * places[:, None] > reach  # [H, W]
    crop[:3] = torch.where(beyond, image, crop[:3])
    crop[3:] = torch.where(beyond, 0.0, crop[3:])


def _draw_strands(side: int, random: np.random.Generator) -> Tensor:
    """Share of the light [3, side, side] that passes strands without nuclei, which wind where a smooth field is 0."""
    field = draw_field((1, side, side), random, (3, 9))[0]
    amount = torch.exp(-((field / random.uniform(0.03, 0.2)) ** 2))
    color = torch.from_numpy(random.uniform(0, (0.4, 0.9))).float() @ STAINS[:2]
    return torch.exp(-amount * color[:, None, None])

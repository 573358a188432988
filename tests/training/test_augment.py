from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsiparse.training.augment import (
    STAINS,
    blank_corners,
    jitter_light,
    jitter_stain,
    swap_stains,
    warp_picture,
)
from wsiparse.training.dataset import Picture
from wsiparse.training.disguise import clear_objects, fade_objects

seeds = st.integers(0, 2**32 - 1)


def draw_picture(height: int, width: int) -> Picture:
    y, x = np.mgrid[:height, :width]
    mask = (y - height / 2) ** 2 + (x - width / 3) ** 2 < (height / 4) ** 2
    return Picture(np.repeat(mask[..., None] * np.uint8(255), 3, axis=2), mask[None], (("disc",),))


@given(seeds, st.integers(20, 90), st.integers(20, 90))
@settings(deadline=None, max_examples=30)
def test_the_mask_moves_with_the_pixels(seed: int, height: int, width: int) -> None:
    crop = warp_picture(draw_picture(height, width), 32, (0.5, 2.0), np.random.default_rng(seed))
    assert crop.shape == (5, 32, 32)
    assert crop.min() >= 0
    assert crop.max() <= 1
    assert torch.equal(crop[0], crop[3])


def test_a_seed_gives_its_crop() -> None:
    first, second = (warp_picture(draw_picture(60, 80), 32, (0.5, 2.0), np.random.default_rng(7)) for _ in range(2))
    assert torch.equal(first, second)


def test_an_upright_crop_of_the_whole_picture_is_the_picture_turned_or_mirrored() -> None:
    picture = draw_picture(32, 32)
    turned = [np.rot90(side, n) for n in range(4) for side in (picture.mask, picture.mask[:, ::-1])]
    crops = [warp_picture(picture, 32, (1.0, 1.0), np.random.default_rng(seed))[3].numpy() for seed in range(24)]
    upright = [any(np.allclose(crop, one, atol=1e-3) for one in turned) for crop in crops]
    assert 4 < sum(upright) < 24  # about half of the crops are tilted as well


def test_magnification_grows_what_is_shown() -> None:
    sizes = []
    for scale in (0.5, 1.0, 2.0):
        crop = warp_picture(draw_picture(96, 96), 96, (scale, scale), np.random.default_rng(3))
        sizes.append(float(crop[3].sum()))
    assert sizes[1] < sizes[2]


@given(seeds, st.floats(0, 2))
@settings(deadline=None, max_examples=30)
def test_stain_and_light_stay_in_range(seed: int, strength: float) -> None:
    random = np.random.default_rng(seed)
    images = torch.from_numpy(random.random((3, 3, 16, 24), np.float32))
    images[0], images[1] = 0, 1
    changed = jitter_light(jitter_stain(images, random, strength), random, strength)
    assert changed.shape == images.shape
    assert torch.isfinite(changed).all()
    assert 0 <= changed.min() <= changed.max() <= 1


def test_no_strength_changes_no_stain() -> None:
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.uniform(0.05, 1, (4, 3, 16, 16)).astype(np.float32))
    assert torch.allclose(jitter_stain(images, random, 0.0), images, atol=1e-4)


def draw_stained(random: np.random.Generator, strengths: tuple[float, float]) -> torch.Tensor:
    """An image [3, 24, 24] of haematoxylin and eosin of these mean densities."""
    amounts = torch.from_numpy(random.uniform(0.5, 1.5, (2, 24, 24)).astype(np.float32))
    amounts *= torch.tensor(strengths)[:, None, None]
    return torch.exp(-torch.einsum("shw,sc->chw", amounts, STAINS[:2]))


def find_density(images: torch.Tensor) -> torch.Tensor:
    """Mean density [N, 3] of each stain."""
    return torch.einsum("nchw,cs->ns", -torch.log(images), torch.linalg.inv(STAINS)) / images[0, 0].numel()


@given(seeds)
@settings(deadline=None, max_examples=30)
def test_swapped_stains_lie_between_two_images(seed: int) -> None:
    random = np.random.default_rng(seed)
    images = torch.stack([draw_stained(random, (0.9, 0.2)), draw_stained(random, (0.4, 0.7))])
    before, after = find_density(images), find_density(swap_stains(images, random, 1.0))
    assert (after >= before.amin(0) - 0.02).all()
    assert (after <= before.amax(0) + 0.02).all()


def test_stains_are_swapped_in_a_share_of_the_images() -> None:
    random = np.random.default_rng(0)
    images = torch.stack([draw_stained(random, (random.uniform(0.2, 1), random.uniform(0.2, 1))) for _ in range(64)])
    assert torch.allclose(swap_stains(images, random, 0.0), images, atol=1e-4)
    moved = (swap_stains(images, random, 0.5) - images).abs().amax((1, 2, 3)) > 1e-3
    assert 16 < moved.sum() < 48


@given(seeds)
@settings(deadline=None, max_examples=30)
def test_glass_holds_nothing(seed: int) -> None:
    crops = torch.zeros(4, 4, 16, 16)
    crops[:, 3] = 1
    blanked = blank_corners(crops.clone(), np.random.default_rng(seed), 1.0)
    glass = blanked[:, :3].amin(1) > 0
    assert torch.equal(blanked[:, 3] == 0, glass)
    assert torch.equal(blank_corners(crops.clone(), np.random.default_rng(seed), 0.0), crops)


def draw_nuclei(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Dark discs in lighter tissue beside glass [count, 3, 64, 64], and where they are [count, 1, 64, 64]."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    discs = ((y % 32 - 16) ** 2 + (x % 32 - 16) ** 2 < 100).float()
    image = torch.where(discs > 0, 0.3, torch.where(x < 48, 0.7, 1.0))
    return image.expand(count, 3, 64, 64).clone(), discs.expand(count, 1, 64, 64)


@given(seeds)
@settings(deadline=None, max_examples=30)
def test_nuclei_fade_into_their_tissue_but_for_a_rim(seed: int) -> None:
    images, discs = draw_nuclei(4)
    faded = fade_objects(images, discs, np.random.default_rng(seed), 1.0)
    inside, glass = discs.bool().expand_as(images), images == 1
    assert (faded[inside] >= images[inside] - 1e-5).all()
    assert (faded[~inside] <= images[~inside] + 1e-5).all()
    assert torch.allclose(faded[glass], images[glass])
    assert faded[inside].max() <= 0.7 + 1e-5
    assert faded[~inside].min() >= 0.3 - 1e-5
    assert (faded - images).abs().amax((1, 2, 3)).max() > 0.01
    edge = inside & (torch.nn.functional.avg_pool2d(discs, 3, 1, 1) < 0.75)
    assert torch.allclose(faded[edge], images[edge])


@given(seeds, st.floats(0, 1))
@settings(deadline=None, max_examples=20)
def test_images_without_nuclei_do_not_fade(seed: int, share: float) -> None:
    images, discs = draw_nuclei(3)
    none = torch.zeros_like(discs)
    assert torch.allclose(fade_objects(images, none, np.random.default_rng(seed), share), images, atol=1e-6)
    assert fade_objects(images, discs, np.random.default_rng(seed), 0.0) is images


@given(seeds)
@settings(deadline=None, max_examples=30)
def test_nuclei_clear_up_inside_alone(seed: int) -> None:
    images, discs = draw_nuclei(4)
    cleared = clear_objects(images, discs, np.random.default_rng(seed), 1.0)
    inside = discs.bool().expand_as(images)
    edge = inside & (torch.nn.functional.avg_pool2d(discs, 3, 1, 1) < 0.75)
    assert (cleared[inside] >= images[inside] - 1e-5).all()
    assert torch.allclose(cleared[~inside], images[~inside])
    assert torch.allclose(cleared[edge], images[edge])
    assert cleared.max() <= 1
    assert (cleared - images).max() > 0.05


@given(seeds, st.floats(0, 1))
@settings(deadline=None, max_examples=20)
def test_images_without_nuclei_do_not_clear_up(seed: int, share: float) -> None:
    images, discs = draw_nuclei(3)
    assert clear_objects(images, torch.zeros_like(discs), np.random.default_rng(seed), share) is images
    assert clear_objects(images, discs, np.random.default_rng(seed), 0.0) is images
    one = torch.cat([discs[:1], torch.zeros_like(discs[1:])])
    assert torch.equal(clear_objects(images, one, np.random.default_rng(seed), 1.0)[1:], images[1:])


def test_strands_lie_on_glass_alone_and_have_no_masks() -> None:
    crops = torch.cat([torch.full((12, 3, 64, 64), 0.5), torch.ones(12, 2, 64, 64)], 1)
    plain, winding = (blank_corners(crops.clone(), np.random.default_rng(4), 1.0, share) for share in (0.0, 1.0))
    for blanked in (plain, winding):
        masks = blanked[:, 3:]
        assert (masks.amax(1) == masks.amin(1)).all()
        assert (blanked[:, :3][(masks[:, :1] == 1).expand(-1, 3, -1, -1)] == 0.5).all()
    plain_spread, spread = (
        [float(crop[1][crop[3] == 0].std()) for crop in crops if (crop[3] == 0).sum() > 1] for crops in (plain, winding)
    )
    assert max(plain_spread) < 1e-6
    assert max(spread) > 0.05

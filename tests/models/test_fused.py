from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from wsiparse.models import fused
from wsiparse.models.devices import multiplies_bfloat16
from wsiparse.models.execution import Execution, ModelOptions
from wsiparse.models.fused import FusedConvolution, FusedFolding, can_fuse, fuse_encoder
from wsiparse.models.open_network import (
    Convolution,
    Folding,
    ImageEncoder,
    OpenNetwork,
    Sizes,
    fold_normalization,
    place_network,
)

SIZES = Sizes(channels=(8, 16, 24), blocks=(1, 2, 1), embedding=8, text_width=16, text_heads=2, buckets=64)
CPU = torch.device("cpu")
HALF = ModelOptions(precision="bfloat16")

pytestmark = pytest.mark.skipif(not can_fuse(Execution()), reason="this torch has no oneDNN")


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    """One whose normalisation does something and is folded."""
    torch.manual_seed(0)
    network = OpenNetwork(SIZES)
    network.train().image(torch.rand(4, 3, 64, 64))  # moves the running statistics off their start
    return fold_normalization(place_network(network, CPU).image, 0)


def fuse(encoder: ImageEncoder, kind: torch.dtype) -> ImageEncoder:
    copied = copy.deepcopy(encoder)
    fuse_encoder(copied, kind)
    return copied


def draw_images() -> Tensor:
    """uint8 [2, 3, 64, 96] as tiles come: colours innermost."""
    return torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8).permute(0, 3, 1, 2)


@torch.inference_mode()
def test_a_fused_encoder_answers_as_the_steps_one_after_another(encoder: ImageEncoder) -> None:
    images = draw_images()
    torch.testing.assert_close(fuse(encoder, torch.float32)(images), encoder(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_pixels_are_folded_to_the_bit_as_without_a_table(kind: torch.dtype) -> None:
    images = draw_images()
    found = FusedFolding(kind)(images)
    assert torch.equal(found, Folding()(images).to(kind))
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.skipif(not multiplies_bfloat16(CPU), reason="this processor does not multiply in bfloat16")
@torch.inference_mode()
def test_in_bfloat16_a_fused_encoder_is_as_near_to_float32_as_the_steps_are(encoder: ImageEncoder) -> None:
    images = draw_images()
    exact, found = encoder(images), fuse(encoder, torch.bfloat16)(images)
    with Execution(options=HALF).round_products():
        steps = encoder(images)
    assert found.dtype == torch.bfloat16
    assert (found.float() - exact).abs().mean() < 1.5 * (steps.float() - exact).abs().mean()


def test_all_convolutions_of_three_by_three_are_replaced_and_the_head_is_left(encoder: ImageEncoder) -> None:
    after = fuse(encoder, torch.bfloat16)
    kinds = [type(module) for module in after.modules()]
    assert Convolution not in kinds
    assert kinds.count(FusedConvolution) == sum(isinstance(module, Convolution) for module in encoder.modules())
    assert after.head.weight.dtype == torch.float32  # prompts are multiplied with it in single precision


def test_a_torch_without_the_operations_does_not_fuse(monkeypatch: pytest.MonkeyPatch) -> None:
    fused._has_operations.cache_clear()
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    assert not can_fuse(Execution())
    fused._has_operations.cache_clear()


def test_only_a_processor_that_multiplies_in_the_precision_fuses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert can_fuse(Execution())
    assert not can_fuse(Execution(device=torch.device("cuda")))
    assert not can_fuse(Execution(options=ModelOptions(compile="default")))  # its compiler fuses by itself
    for able in (False, True):
        monkeypatch.setattr("wsiparse.models.fused.multiplies_bfloat16", lambda device, able=able: able)
        assert can_fuse(Execution(options=HALF)) is able

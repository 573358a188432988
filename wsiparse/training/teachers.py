"""A teacher: weights whose answers a network learns to give, beside what was drawn (Hinton et al. 2015)."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from wsiparse.models.eight_views import VIEWS
from wsiparse.models.open_network import mirror_edges
from wsiparse.training.answers import predict_logits
from wsiparse.training.batches import Batch
from wsiparse.training.settings import TrainingSettings
from wsiparse.training.students import Student, load_alike


def start_teacher(settings: TrainingSettings, student: Student) -> nn.Module | None:
    """The network of the config's `teacher`, where the student learns; None where there is none.

    Raises InputError where it is another network than the student's.
    """
    if not settings.teacher:
        return None
    network = copy.deepcopy(student.network)
    network.load_state_dict(load_alike(settings, student, "teacher"))
    return network.requires_grad_(False).eval()


@torch.no_grad()
def ask_teacher(teacher: nn.Module, batch: Batch, step: int) -> Tensor:
    """Probabilities [N, K, H, W] of a batch, seen in one of the eight views.

    The views take turns from step to step: what is learned is their mean, which is steadier than any of them.
    """
    mirror_edges(teacher, batch.mirrored)
    turns, mirror = VIEWS[step % len(VIEWS)]
    seen = replace(batch, images=_turn(batch.images, turns, mirror), hidden=_turn(batch.hidden, turns, mirror))
    return _turn_back(predict_logits(teacher, seen).sigmoid(), turns, mirror)


def soften_truth(batch: Batch, answers: Tensor, share: float) -> Batch:
    """The batch with a share of the answers [N, K, H, W] in its truth, where anything is known."""
    known = batch.known[:, :, None, None]
    return replace(batch, truth=batch.truth.lerp(answers.cpu(), share * known))


def _turn(images: Tensor, turns: int, mirror: int) -> Tensor:
    turned = torch.rot90(images, turns, (2, 3))
    return turned.flip(3) if mirror < 0 else turned


def _turn_back(images: Tensor, turns: int, mirror: int) -> Tensor:
    return torch.rot90(images.flip(3) if mirror < 0 else images, -turns, (2, 3))

"""Training, from a config file to a weight file, in one sitting."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from wsiparse.errors import ModelError, RunError
from wsiparse.files import remove_partials
from wsiparse.models.breakdown import notice_breakdown
from wsiparse.models.devices import multiplies_bfloat16
from wsiparse.models.load import choose_device
from wsiparse.models.memory import is_out_of_memory
from wsiparse.models.open_network import mirror_edges
from wsiparse.models.tile_sizes import TileSizes
from wsiparse.ontology import Ontology, list_groups
from wsiparse.runs.lock import hold_lock
from wsiparse.runs.manifest import write_manifest
from wsiparse.training.apart import drop_apart, list_parted
from wsiparse.training.batches import ABSENT_COLUMNS, Batch, BatchSource, draw_ahead, load_check, take_images
from wsiparse.training.checkpoint import Checkpoint, describe_training
from wsiparse.training.dataset import Supervision
from wsiparse.training.losses import Columns, compare_masks, score_batch
from wsiparse.training.overlays import draw_overlays
from wsiparse.training.progress import Log, open_log
from wsiparse.training.settings import TrainingSettings, read_settings
from wsiparse.training.sources import Lesson, load_lesson
from wsiparse.training.students import Student, freeze_rest, load_kept, start_student

CHECKED_AT_ONCE = 16
"""Pictures of a check in one forward pass."""
ABSENT_WEIGHT = 0.1
UNASKED = -30.0
"""Logit of a hidden pixel: so sure that it is nothing that neither the loss nor the Dice moves."""


@dataclass(frozen=True)
class Session:
    """Everything of a training that changes as it goes, and what it is judged by."""

    network: nn.Module
    average: nn.Module
    """The moving average of the network's weights: what is checked and kept."""
    optimizer: torch.optim.Optimizer
    columns: Columns
    settings: TrainingSettings

    @property
    def states(self) -> tuple[nn.Module, nn.Module, torch.optim.Optimizer]:
        """What a checkpoint keeps."""
        return self.network, self.average, self.optimizer


def train(config_path: str | Path) -> Path:
    """Train as a config says, or continue where its `out` folder stands; returns the weight file.

    Raises InputError for a wrong config or data that cannot be learned from, ModelError where the loss is no number or
    memory too small, RunError where another training writes to that folder or left its checkpoint there, and
    BreakdownError where the accelerator is lost.
    """
    settings = read_settings(config_path)
    with notice_breakdown(), _refuse_shortage(settings):
        return teach(start_student(settings), settings)


@contextmanager
def _refuse_shortage(settings: TrainingSettings) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(
            f"memory does not suffice for batches of {settings.batch} crops of {settings.crop} pixels; expected room "
            "for them; lower batch or crop, or free memory"
        ) from error


def teach(student: Student, settings: TrainingSettings) -> Path:
    """Train a network further; as `train`.

    Every `check_every` steps a checkpoint is kept, log.jsonl gains a line and samples/ a picture.
    """
    lesson = load_lesson(settings, TileSizes(settings.tile, 0, student.stride))
    if settings.start_share:
        load_kept(settings, student)  # refused before anything is learned, read again when all is
    checkpoint = Checkpoint(settings.out / "checkpoint.pt", describe_training(settings, lesson))
    session = start_session(student, lesson.ontology, settings)
    source = BatchSource(lesson.train, lesson.ontology, settings, student.tokenize)
    check = load_check(lesson.test, lesson.ontology, settings, student.tokenize) if lesson.test else None
    with hold_lock(settings.out), open_log(settings.out, settings.steps) as log:
        remove_partials(settings.out)
        first = take_up(session, checkpoint)
        log.rewind(first)
        report_screening(log, first, lesson)
        if lesson.kept_apart:
            write_manifest(settings.out / "kept-apart.csv", lesson.kept_apart)
        began = time.monotonic()
        for step, batch in draw_ahead(source, range(first, settings.steps)):
            loss = advance(session, step, batch)
            log.advance(step + 1, loss)
            if (step + 1) % settings.log_every == 0:
                log.write(step + 1, {"loss": loss, "seconds": time.monotonic() - began})
            if (step + 1) % settings.check_every == 0 or step + 1 == settings.steps:
                refuse_divergence(session, batch)
                checkpoint.save(step + 1, session.states)
                if check is not None:
                    log.write(step + 1, check_network(session, step + 1, check, lesson.ontology))
        return save_weights(student, session, drop_apart(lesson.ontology))


def start_session(student: Student, ontology: Ontology, settings: TrainingSettings) -> Session:
    """The network where it will learn, and a fresh optimiser."""
    network = freeze_rest(student.place(choose_device(settings.device)), settings.learn)
    optimizer = torch.optim.AdamW(split_decay(network, settings.weight_decay), settings.learning_rate, fused=True)
    return Session(network, copy.deepcopy(network), optimizer, describe_columns(ontology), settings)


def take_up(session: Session, checkpoint: Checkpoint) -> int:
    """Put the folder's checkpoint back; the number of steps done.

    Raises RunError where these are more than the config asks for, or the checkpoint is of another training.
    """
    done, asked = checkpoint.load(session.states), session.settings.steps
    if done > asked:
        raise RunError(f"{checkpoint.path}: of {done} steps, steps is {asked}; ask for as many, or choose another out")
    return done


@torch.no_grad()
def refuse_divergence(session: Session, batch: Batch) -> None:
    """Raise ModelError where weights or their answers are no numbers: the last step may have spoiled them unseen."""
    for network in (session.network.eval(), session.average.eval()):
        values = [*network.state_dict().values(), predict_logits(network, batch)]
        if not all(bool(value.isfinite().all()) for value in values):
            raise ModelError(
                "training left weights that are no numbers or answer with none; expected numbers; lower learning_rate "
                "and continue"
            )


def report_screening(log: Log, step: int, lesson: Lesson) -> None:
    """Say what is learned from, and what was left out and why."""
    log.say(f"{len(lesson.train)} samples to learn from, {len(lesson.test)} kept apart for the checks")
    for line in lesson.screening.describe():
        log.say(line)
    left_out = {"skipped": lesson.screening.skipped, "remarks": lesson.screening.remarks}
    log.note(step, {"samples": len(lesson.train), **left_out})


def advance(session: Session, step: int, batch: Batch) -> float:
    """One step of learning; the loss."""
    settings = session.settings
    for group in session.optimizer.param_groups:
        group["lr"] = schedule_rate(step, settings)
    mirror_edges(session.network, batch.mirrored)
    loss = take_step(session.network, session.optimizer, batch, session.columns)
    update_average(session.average, session.network, min(settings.average_decay, (1 + step) / (10 + step)))
    return loss


def split_decay(network: nn.Module, decay: float) -> list[dict[str, object]]:
    """Parameter groups for the optimiser: matrices and kernels decay, biases and norms do not."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def describe_columns(ontology: Ontology) -> Columns:
    """The columns of a batch: every group weighs the same, the absent prompts little, for they are easy."""
    weights = torch.from_numpy(Supervision.of(ontology).weigh_columns())
    targets = ontology.targets
    groups = [[k for k, target in enumerate(targets) if target.group == g] for g in list_groups(targets)]
    exclusive = tuple(tuple(group) for group in groups if len(group) > 1)
    return Columns(torch.cat([weights, torch.full((ABSENT_COLUMNS,), ABSENT_WEIGHT)]), exclusive, list_parted(ontology))


def schedule_rate(step: int, settings: TrainingSettings) -> float:
    """Learning rate of a step: a linear rise, then half a cosine down to a hundredth."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(settings.steps - settings.warmup_steps, 1)
    return settings.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def take_step(network: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, columns: Columns) -> float:
    """Forward, backward and update on one batch; the loss. ModelError where the loss is no number."""
    loss = measure_loss(network.train(), batch, columns)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ModelError(f"training loss is {value}; expected a number; lower learning_rate and continue")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return value


def measure_loss(network: nn.Module, batch: Batch, columns: Columns) -> Tensor:
    """Loss of one batch, the convolutions in bfloat16 where the device multiplies in it."""
    device = next(network.parameters()).device
    logits = predict_logits(network, batch)
    columns = replace(columns, weights=columns.weights.to(device))
    return score_batch(logits, batch.truth.to(device), batch.known.to(device), columns)


def predict_logits(network: nn.Module, batch: Batch) -> Tensor:
    """Logits [N, K, H, W] in float32, of which those of hidden pixels are fixed."""
    device = next(network.parameters()).device
    images = batch.images.to(device, memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16, enabled=multiplies_bfloat16(device)):
        logits: Tensor = network(images, batch.tokens.to(device), batch.mpp)
    # Nothing is learned where nothing is known: there the answer is the right one, and flat.
    return logits.float().masked_fill(batch.hidden.to(device), UNASKED)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights and statistics a step towards the network's."""
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def check_network(session: Session, step: int, batch: Batch, ontology: Ontology) -> dict[str, float | None]:
    """Dice of each target over kept-apart pictures taken together, at its threshold; some are drawn into samples/.

    None of a target about which they say nothing, or that is neither in them nor found.
    """
    predicted = predict_batch(session.average, batch, ontology)
    shown = min(session.settings.overlays, len(batch.images))
    if shown:
        path = session.settings.out / f"samples/step-{step:06d}.png"
        draw_overlays(path, take_images(batch, slice(shown)), predicted[:shown], ontology)
    dice = compare_masks(predicted, batch.truth, batch.known)
    return {target.name: value for target, value in zip(ontology.targets, dice, strict=False)}


@torch.inference_mode()
def predict_batch(network: nn.Module, batch: Batch, ontology: Ontology) -> Tensor:
    """What a network finds [N, K, H, W], 0 or 1, each target at its threshold."""
    parts = [take_images(batch, slice(n, n + CHECKED_AT_ONCE)) for n in range(0, len(batch.images), CHECKED_AT_ONCE)]
    logits = torch.cat([predict_logits(network.eval(), part).cpu() for part in parts])
    thresholds = torch.tensor([*(t.threshold for t in ontology.targets), *[0.5] * ABSENT_COLUMNS])
    return (logits.sigmoid() >= thresholds[:, None, None]).float()


def save_weights(student: Student, session: Session, ontology: Ontology) -> Path:
    """Write the weight file of a finished run into its folder."""
    settings = session.settings
    path = settings.out / f"{settings.name}.safetensors"
    weights = session.average.cpu().state_dict()
    if settings.start_share:
        weights = blend_weights(weights, load_kept(settings, student), settings.start_share)
    student.write(path, weights, ontology, settings)
    return path


def blend_weights(learned: dict[str, Tensor], kept: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Learned weights with a share of others (Wortsman et al. 2022, robust fine-tuning)."""
    return {
        name: tensor.lerp(kept[name], share) if tensor.is_floating_point() else tensor
        for name, tensor in learned.items()
    }

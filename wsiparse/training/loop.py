"""Training, from a config file to a weight file, in one sitting."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from wsiparse.errors import InputError, ModelError
from wsiparse.models.load import choose_device, list_models
from wsiparse.models.open_model import Header, read_weights, write_weights
from wsiparse.models.open_network import OpenNetwork, place_network
from wsiparse.ontology import Ontology, list_groups, load_ontology
from wsiparse.training.batches import ABSENT_COLUMNS, Batch, BatchSource, draw_ahead, load_check
from wsiparse.training.dataset import Example, Picture, Supervision, load_picture, read_examples
from wsiparse.training.losses import Columns, measure_dice, score_batch
from wsiparse.training.settings import TrainingSettings, read_settings

ABSENT_WEIGHT = 0.1
UNASKED = -30.0
"""Logit of a hidden pixel: so sure that it is nothing that neither the loss nor the Dice moves."""


def train(config_path: str | Path) -> Path:
    """Train as a config says, or continue where its `out` folder stands; returns the weight file.

    Every `check_every` steps a checkpoint is kept and log.jsonl gains a line. Raises InputError for a wrong config
    and ModelError where the loss is no number.
    """
    settings = read_settings(config_path)
    ontology = choose_targets(settings)
    pictures, checked = load_parts(settings)
    settings.out.mkdir(parents=True, exist_ok=True)
    device = choose_device(settings.device)
    torch.manual_seed(settings.seed)
    network, average = start_network(settings), start_network(settings)
    average.load_state_dict(network.state_dict())
    network, average = place_network(network, device), place_network(average, device)
    optimizer = torch.optim.AdamW(split_decay(network, settings.weight_decay), settings.learning_rate)
    first = load_checkpoint(settings.out, network, average, optimizer)
    source = BatchSource(pictures, ontology, settings)
    check = load_check(checked, ontology, settings) if checked else None
    columns = describe_columns(ontology)
    began = time.monotonic()
    for step, batch in draw_ahead(source, range(first, settings.steps)):
        for group in optimizer.param_groups:
            group["lr"] = schedule_rate(step, settings)
        loss = take_step(network, optimizer, batch, columns)
        update_average(average, network, min(settings.average_decay, (1 + step) / (10 + step)))
        if (step + 1) % settings.log_every == 0:
            log_step(settings.out, step + 1, {"loss": loss, "seconds": time.monotonic() - began})
        if (step + 1) % settings.check_every == 0 or step + 1 == settings.steps:
            save_checkpoint(settings.out, step + 1, (network, average, optimizer))
            if check is not None:
                log_step(settings.out, step + 1, check_network(average, check, ontology))
    return save_weights(settings, ontology, average)


def choose_targets(settings: TrainingSettings) -> Ontology:
    """The targets to learn, in the order the config names them."""
    ontology = load_ontology(settings.ontology)
    return Ontology(tuple(ontology.find(name) for name in settings.targets))


def load_parts(settings: TrainingSettings) -> tuple[list[Picture], list[Picture]]:
    """The training pictures, and kept-apart ones spread evenly over the table for the checks."""
    examples = read_examples(settings.examples, settings.data)
    parts = {part: [example for example in examples if example.part == part] for part in ("train", "test")}
    if not parts["train"]:
        raise InputError(f"examples {settings.examples}: no row of part 'train'; expected some to learn from")
    return [load_picture(e) for e in parts["train"]], [
        load_picture(e) for e in _thin_out(parts["test"], settings.check_pictures)
    ]


def _thin_out(examples: Sequence[Example], count: int) -> list[Example]:
    chosen = np.linspace(0, len(examples) - 1, min(count, len(examples))).round()
    return [examples[int(index)] for index in chosen]


def start_network(settings: TrainingSettings) -> OpenNetwork:
    """A network with random weights, or with those the config starts from."""
    if not settings.start:
        return OpenNetwork(settings.sizes)
    header, network = read_weights(list_models().get(settings.start, Path(settings.start)))
    if header.sizes != settings.sizes:
        raise InputError(f"start {settings.start}: sizes {header.sizes}, the config asks for {settings.sizes}")
    return network


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
    return Columns(torch.cat([weights, torch.full((ABSENT_COLUMNS,), ABSENT_WEIGHT)]), exclusive)


def schedule_rate(step: int, settings: TrainingSettings) -> float:
    """Learning rate of a step: a linear rise, then half a cosine down to a hundredth."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(settings.steps - settings.warmup_steps, 1)
    return settings.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def take_step(network: OpenNetwork, optimizer: torch.optim.Optimizer, batch: Batch, columns: Columns) -> float:
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


def measure_loss(network: OpenNetwork, batch: Batch, columns: Columns) -> Tensor:
    """Loss of one batch, the convolutions in bfloat16."""
    device = next(network.parameters()).device
    logits = _compute_logits(network, batch)
    columns = Columns(columns.weights.to(device), columns.exclusive)
    return score_batch(logits, batch.truth.to(device), batch.known.to(device), columns)


def _compute_logits(network: OpenNetwork, batch: Batch) -> Tensor:
    device = next(network.parameters()).device
    images = batch.images.to(device, memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16):
        logits: Tensor = network(images, batch.tokens.to(device))
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


@torch.inference_mode()
def check_network(network: OpenNetwork, batch: Batch, ontology: Ontology) -> dict[str, float]:
    """Dice of each target over kept-apart pictures taken together, at its threshold."""
    logits = torch.cat([_compute_logits(network.eval(), part) for part in _split_batch(batch)]).cpu()
    thresholds = torch.tensor([*(t.threshold for t in ontology.targets), *[0.5] * ABSENT_COLUMNS])
    predicted = (logits.sigmoid() >= thresholds[:, None, None]).float()
    dice = measure_dice(predicted, batch.truth, batch.known)
    return {target.name: float(value) for target, value in zip(ontology.targets, dice, strict=False)}


def _split_batch(batch: Batch) -> list[Batch]:
    wholes = (batch.images, batch.truth, batch.known, batch.hidden)
    parts = zip(*(torch.split(whole, 16) for whole in wholes), strict=True)
    return [Batch(images, truth, known, hidden, batch.tokens) for images, truth, known, hidden in parts]


def log_step(out: Path, step: int, values: dict[str, float]) -> None:
    """One line for people on the terminal and one of JSON in log.jsonl."""
    print(f"step {step:6d}  " + "  ".join(f"{name} {value:.4g}" for name, value in values.items()), flush=True)
    with open(out / "log.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, **values}) + "\n")


def save_checkpoint(out: Path, step: int, states: tuple[nn.Module, nn.Module, torch.optim.Optimizer]) -> None:
    """Keep everything a run needs to continue; the file is whole or absent."""
    partial = out / "checkpoint.pt.partial"
    torch.save({"step": step, "states": [state.state_dict() for state in states]}, partial)
    partial.replace(out / "checkpoint.pt")


def load_checkpoint(out: Path, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Put a folder's checkpoint back; the number of steps done, 0 where there is none."""
    path = out / "checkpoint.pt"
    if not path.exists():
        return 0
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    for module, state in zip((network, average), checkpoint["states"], strict=False):
        module.load_state_dict(state)
    optimizer.load_state_dict(checkpoint["states"][2])
    return int(checkpoint["step"])


def save_weights(settings: TrainingSettings, ontology: Ontology, network: OpenNetwork) -> Path:
    """Write the weight file of a finished run into its folder."""
    training = {**settings.notes, "steps": settings.steps, "seed": settings.seed, "sizes": asdict(settings.sizes)}
    header = Header(settings.name, settings.sizes, ontology.targets, settings.tile, training)
    path = settings.out / f"{settings.name}.safetensors"
    write_weights(path, header, {name: tensor.cpu() for name, tensor in network.state_dict().items()})
    return path

"""Does it help to fill in hidden parts of unlabelled pictures first? The open model from random weights, both ways.

    WSIPARSE_SHARED_DATA=/path/to/data python -m benchmarks.warm_up [--minutes 4]

One network is taught by masks for twice the minutes of processor. The other spends the first half on the same augmented
crops without their masks: squares of them are whitened, and it learns to paint what was there (masked image modelling,
after He et al. 2022); the second half goes as for a third network, which is taught by masks for that half alone. Data,
loss and prompts are those of configs/train/open-1-start.toml. Dice is that of kept-apart pictures taken together.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.architectures import read_seconds, read_start, teach_steps, time_step
from benchmarks.report import Row, print_table, write_result
from wsiparse.models.devices import multiplies_bfloat16
from wsiparse.models.open_network import OpenNetwork, place_network
from wsiparse.models.tile_sizes import TileSizes
from wsiparse.training.batches import BatchSource
from wsiparse.training.loop import schedule_rate, split_decay
from wsiparse.training.settings import TrainingSettings
from wsiparse.training.sources import load_lesson
from wsiparse.training.students import OpenStudent, start_student

HIDDEN_SHARE = 0.5
SQUARE = 16
"""Side of a hidden square in pixels: a nucleus at the scale of nuclei, a few at that of glands."""
SMOOTHNESS = 0.1


def main() -> None:
    """Teach all three and write the table."""
    seconds, settings = read_seconds(4.0), read_start()
    steps = round(seconds / time_step(start_student(settings), settings))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warm = warm_up(replace(settings, out=folder / "warm", steps=steps), seconds)
        ways = {"masks": ("", 1), "masks, twice as long": ("", 2), "hidden parts, then masks": (str(warm), 1)}
        rows: list[Row] = []
        for way, (start, times) in ways.items():
            taught = replace(settings, start=start, out=folder / way)
            rows.append({"taught by": way, **teach_steps(start_student(taught), taught, times * steps)})
    print_table("Dice on kept-apart pictures", rows)
    print(write_result("warm_up", rows))


def warm_up(settings: TrainingSettings, seconds: float) -> Path:
    """Teach an image encoder to paint what is hidden, for so many seconds of processor; the network's weight file."""
    student = start_student(settings)
    assert isinstance(student, OpenStudent)
    lesson = load_lesson(settings, TileSizes(settings.tile, 0, student.stride))
    painter = Painter(place_network(student.network, torch.device("cpu"))).train()
    optimizer = torch.optim.AdamW(split_decay(painter, settings.weight_decay), settings.learning_rate, fused=True)
    source = BatchSource(lesson.train, lesson.ontology, settings, student.tokenize)
    losses = []
    for step in count_seconds(seconds):
        for group in optimizer.param_groups:
            group["lr"] = schedule_rate(min(step, settings.steps), settings)
        images = source.draw(step).images
        loss = painter.score(images, hide_squares(images, torch.Generator().manual_seed(step)))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    first, last = fmean(losses[:20]), fmean(losses[-20:])
    print(f"{len(losses)} steps of painting: mean loss of the first 20 {first:.4f}, of the last {last:.4f}")
    settings.out.mkdir(parents=True)
    path = settings.out / "warm.safetensors"
    student.write(path, student.network.state_dict(), lesson.ontology, settings)
    return path


def count_seconds(seconds: float) -> Iterator[int]:
    """Steps, as long as the process has not yet taken so many seconds of processor."""
    end, step = time.process_time() + seconds, 0
    while time.process_time() < end:
        yield step
        step += 1


def hide_squares(images: Tensor, random: torch.Generator) -> Tensor:
    """Which pixels [N, 1, H, W] of images are hidden: squares that tile them, drawn by chance."""
    count, _, height, width = images.shape
    cells = torch.rand(count, 1, -(-height // SQUARE), -(-width // SQUARE), generator=random) < HIDDEN_SHARE
    return cells.repeat_interleave(SQUARE, 2).repeat_interleave(SQUARE, 3)[..., :height, :width]


class Painter(nn.Module):
    """An image encoder with a layer that makes pixels of its features."""

    def __init__(self, network: OpenNetwork) -> None:
        super().__init__()
        self.image = network.image
        self.color = nn.Conv2d(network.sizes.channels[0], 12, 1)

    def score(self, images: Tensor, hidden: Tensor) -> Tensor:
        """Mean difference between what was hidden and what is painted there, a scalar."""
        with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16(images.device)):
            features = self.image(images.masked_fill(hidden, 1.0).contiguous(memory_format=torch.channels_last))
            painted = functional.pixel_shuffle(self.color(features), 2).float()
        differences = functional.smooth_l1_loss(painted, images, reduction="none", beta=SMOOTHNESS)
        return (differences * hidden).sum() / (3 * hidden.sum())


if __name__ == "__main__":
    main()

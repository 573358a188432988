"""Do BiomedParse's modules, made small, learn from this little data what the open model's network learns?

    WSIPARSE_SHARED_DATA=/path/to/data python -m benchmarks.architectures [--minutes 5]

Both start from random weights and take as many seconds of processor, on the data, the loss and the prompts of
configs/train/open-1-start.toml, in crops as large as a picture of EBHI-Seg. BiomedParse's network is built by the code
that loads the published weights, and sees its crops as they are or, since its masks have a quarter of its input's
resolution, twice as large. Dice is that of kept-apart pictures taken together, as a training logs it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from benchmarks.model_quality import ROOT
from benchmarks.prompts import write_random
from benchmarks.report import Row, print_table, write_result
from wsiparse.models.network import Sizes
from wsiparse.models.tile_sizes import TileSizes
from wsiparse.training.batches import BatchSource
from wsiparse.training.loop import advance, start_session, teach
from wsiparse.training.settings import TrainingSettings, read_settings
from wsiparse.training.sources import load_lesson
from wsiparse.training.students import BiomedParseStudent, Student, start_student

SMALL = Sizes(
    backbone_width=32,
    backbone_depths=(1, 1, 4, 1),
    width=96,
    heads=4,
    hidden=256,
    encoder_layers=2,
    decoder_layers=3,
    text_width=96,
    text_heads=4,
    text_layers=1,
)
CROP = 224
RATES = {"open-1": 2e-3, "BiomedParse, small": 5e-4, "BiomedParse, small, crops doubled": 5e-4}
"""Of those tried for 60 seconds on BiomedParse's (2e-3, 1e-3, 5e-4, 2e-4), the one with the least loss."""
TIMED_STEPS = 6


def main() -> None:
    """Teach both and write the table."""
    seconds = read_seconds(5.0)
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        weights = write_random(Path(folder), SMALL)
        students: dict[str, Callable[[TrainingSettings], Student]] = {
            "open-1": start_student,
            "BiomedParse, small": lambda _: BiomedParseStudent(weights, SMALL, CROP),
            "BiomedParse, small, crops doubled": lambda _: BiomedParseStudent(weights, SMALL, 2 * CROP),
        }
        rows = [measure(name, start, seconds, Path(folder, name)) for name, start in students.items()]
    print_table("Dice on kept-apart pictures after equal seconds of processor", rows)
    print(write_result("architectures", rows))


def read_seconds(minutes: float) -> float:
    """The seconds of processor that the command line gives, or else those of so many minutes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=minutes)
    return float(60 * parser.parse_args().minutes)


def measure(name: str, start: Callable[[TrainingSettings], Student], seconds: float, out: Path) -> Row:
    """Teach one network for so many seconds of processor; its row."""
    settings = replace(read_start(), out=out, crop=CROP, batch=6, learning_rate=RATES[name])
    steps = round(seconds / time_step(start(settings), settings))
    student = start(settings)
    cost = measure_cost(student.network.eval(), student.tokenize(["glandular structure in colon pathology"]))
    million = sum(parameter.numel() for parameter in student.network.parameters()) / 1e6
    return {"network": name, "parameters (million)": million, **cost, **teach_steps(student, settings, steps)}


def read_start() -> TrainingSettings:
    """The settings of the first sitting of the open model, checked once at its end on more pictures."""
    settings = read_settings(ROOT / "configs/train/open-1-start.toml")
    return replace(settings, check_pictures=128, overlays=0)


def teach_steps(student: Student, settings: TrainingSettings, steps: int) -> Row:
    """Teach a network for so many steps; these, the seconds of processor, and Dice of each target at the end."""
    settings = replace(settings, steps=steps, check_every=steps, warmup_steps=min(100, steps // 4))
    began = time.process_time()
    teach(student, settings)
    taken = time.process_time() - began
    last = json.loads((settings.out / "log.jsonl").read_text().splitlines()[-1])
    return {"steps": steps, "seconds": taken, **{target: dice for target, dice in last.items() if target != "step"}}


def time_step(student: Student, settings: TrainingSettings) -> float:
    """Seconds of processor that a step takes, the drawing of its batch too."""
    lesson = load_lesson(settings, TileSizes(settings.tile, 0, student.stride))
    session = start_session(student, lesson.ontology, settings)
    source = BatchSource(lesson.train, lesson.ontology, settings, student.tokenize)
    advance(session, 0, source.draw(0))
    began = time.process_time()
    for step in range(1, TIMED_STEPS):
        advance(session, step, source.draw(step))
    return (time.process_time() - began) / (TIMED_STEPS - 1)


@torch.inference_mode()
def measure_cost(network: nn.Module, tokens: torch.Tensor) -> Row:
    """Seconds of processor for one crop."""
    image = torch.zeros(1, 3, CROP, CROP)
    network(image, tokens, torch.ones(1))
    began = time.process_time()
    network(image, tokens, torch.ones(1))
    return {"seconds a crop": time.process_time() - began}


if __name__ == "__main__":
    main()

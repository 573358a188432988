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
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5.0)
    seconds = 60 * parser.parse_args().minutes
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


def measure(name: str, start: Callable[[TrainingSettings], Student], seconds: float, out: Path) -> Row:
    """Teach one network for so many seconds of processor; its row."""
    settings = read_settings(ROOT / "configs/train/open-1-start.toml")
    settings = replace(settings, out=out, crop=CROP, batch=6, learning_rate=RATES[name], check_pictures=128, overlays=0)
    steps = round(seconds / time_step(start(settings), settings))
    settings = replace(settings, steps=steps, check_every=steps, warmup_steps=min(100, steps // 4))
    student = start(settings)
    cost = measure_cost(student.network.eval(), student.tokenize(["glandular structure in colon pathology"]))
    began = time.process_time()
    teach(student, settings)
    taken = time.process_time() - began
    last = json.loads((out / "log.jsonl").read_text().splitlines()[-1])
    dice = {target: value for target, value in last.items() if target != "step"}
    million = sum(parameter.numel() for parameter in student.network.parameters()) / 1e6
    return {"network": name, "parameters (million)": million, **cost, "steps": steps, "seconds": taken, **dice}


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
    network(image, tokens)
    began = time.process_time()
    network(image, tokens)
    return {"seconds a crop": time.process_time() - began}


if __name__ == "__main__":
    main()

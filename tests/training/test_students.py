from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.models.official import REDUCED, write_official_weights
from tests.training.test_screening import make_table
from wsiparse.errors import InputError, ModelError
from wsiparse.models.biomedparse import open_biomedparse
from wsiparse.models.checkpoint import read_weights
from wsiparse.training.loop import teach
from wsiparse.training.settings import TrainingSettings, read_settings
from wsiparse.training.sources import choose_targets
from wsiparse.training.students import BiomedParseStudent, PromptedNetwork, freeze_rest, start_student

SIDE = 64


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_official_weights(tmp_path_factory.mktemp("official"))


def plan_teaching(folder: Path) -> TrainingSettings:
    settings = read_settings(make_table(folder))
    return replace(
        settings, steps=12, learning_rate=2e-3, weight_decay=0.0, scales=(0.9, 1.1), check_every=12, average_decay=0.0
    )


def read_losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_the_decoder_of_biomedparse_learns_and_the_rest_stays(tmp_path: Path, weights: Path) -> None:
    settings = replace(plan_teaching(tmp_path), learn=("mask_decoder",))
    path = teach(BiomedParseStudent(weights, REDUCED, SIDE), settings)
    losses = read_losses(tmp_path / "out")
    assert np.mean(losses[-4:]) < np.mean(losses[:4]) - 0.05
    before, after = read_weights(weights), read_weights(path)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(".predictor." in name and "lang_encoder" not in name for name in changed)


def test_what_was_learned_loads_as_biomedparse(tmp_path: Path, weights: Path) -> None:
    settings = replace(plan_teaching(tmp_path), steps=1, check_every=1)
    model = open_biomedparse(teach(BiomedParseStudent(weights, REDUCED, SIDE), settings), sizes=REDUCED)
    found = model.predict(np.zeros((1, SIDE, SIDE, 3), np.uint8), choose_targets(settings).targets)
    assert found.shape == (1, 1, SIDE, SIDE)


def test_crops_reach_the_network_as_tiles_do(weights: Path) -> None:
    student = BiomedParseStudent(weights, REDUCED, SIDE)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8))
    parts, prompt = student.network.parts, "glandular structure in colon pathology"
    with torch.inference_mode():
        logits = student.network(pixels.permute(0, 3, 1, 2) / 255, student.tokenize([prompt]), torch.ones(1))
        direct = parts.decode(parts.encode_images(pixels), parts.embed_texts([prompt]))
    drawn = functional.interpolate(direct, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    assert torch.allclose(logits, drawn, atol=1e-3)


def test_a_weights_file_that_is_not_ours_starts_biomedparse(tmp_path: Path, weights: Path) -> None:
    settings = replace(plan_teaching(tmp_path), start=str(weights))
    with pytest.raises(ModelError, match=r"shape|missing"):  # of reduced size, where the published one is expected
        start_student(settings)


def test_parts_that_a_network_has_not_are_refused(tmp_path: Path, weights: Path) -> None:
    student = BiomedParseStudent(weights, REDUCED, SIDE)
    with pytest.raises(InputError, match=r"learn 'decoder'.*mask_decoder"):
        freeze_rest(student.network, ("decoder",))
    assert isinstance(student.network, PromptedNetwork)
    opened = start_student(plan_teaching(tmp_path))
    frozen = freeze_rest(opened.network, ("text",))
    assert {name.split(".")[0] for name, p in frozen.named_parameters() if p.requires_grad} == {"text"}
    assert all(p.requires_grad for p in freeze_rest(opened.network, ()).parameters())

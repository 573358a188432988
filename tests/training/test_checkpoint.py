"""A checkpoint is taken up by the training that it is of, and by no other."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.teaching import save_pair, write_config
from tests.training.test_screening import fill_mask, make_table
from wsiparse.cli import main
from wsiparse.errors import ModelError, RunError
from wsiparse.training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")


def change(folder: Path, **changes: Any) -> None:
    write_config(folder, examples="examples.csv", **changes)


def reword(folder: Path) -> None:
    ontology = folder / "ontology.toml"
    ontology.write_text(ontology.read_text().replace('"black disc"', '"ink blot"'))


def damage(folder: Path) -> None:
    checkpoint = folder / "out/checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:2000])


def forget(folder: Path) -> None:
    checkpoint = folder / "out/checkpoint.pt"
    kept = torch.load(checkpoint, weights_only=True)
    torch.save({"step": kept["step"], "states": kept["states"]}, checkpoint)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: change(folder, seed=2), "other seed;"),
        (lambda folder: change(folder, batch=3, crop=16), "other batch, crop;"),
        (lambda folder: change(folder, start="wsiparse-open-1", sizes={}, crop=64), "other crop, sizes, start"),
        (lambda folder: save_pair(folder / "0.png", folder / "0_mask.png", 40), "other samples;"),
        (lambda folder: fill_mask(folder, 0, 0), "other samples;"),
        (lambda folder: change(folder, steps=1), "of 2 steps, steps is 1;"),
        (reword, "other targets;"),
        (forget, "an earlier version;"),
        (damage, "expected a whole checkpoint"),
        (lambda folder: (folder / "out/checkpoint.pt").write_bytes(b""), "EOFError; expected a whole checkpoint"),
        (lambda folder: torch.save([], folder / "out/checkpoint.pt"), "expected a whole checkpoint"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_table(tmp_path)
    weights = train(config)
    before, log = weights.read_bytes(), (tmp_path / "out/log.jsonl").read_bytes()
    spoil(tmp_path)
    capsys.readouterr()
    assert main(["train", str(config)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert "checkpoint.pt" in line
    assert (weights.read_bytes(), (tmp_path / "out/log.jsonl").read_bytes()) == (before, log)


def test_a_setting_that_came_later_leaves_checkpoints_as_they_were(tmp_path: Path) -> None:
    config = make_table(tmp_path)
    train(config)
    checkpoint = tmp_path / "out/checkpoint.pt"
    kept = torch.load(checkpoint, weights_only=True)
    del kept["decided"]["plain_share"]
    torch.save(kept, checkpoint)
    train(config)
    change(tmp_path, plain_share=0.5)
    with pytest.raises(RunError, match="other plain_share;"):
        train(config)


def test_a_training_goes_on_for_longer_and_at_another_rate(tmp_path: Path) -> None:
    config = make_table(tmp_path)
    train(config)
    with (tmp_path / "out/log.jsonl").open("a") as log:
        log.write('{"step": 2, "lo')  # killed while it was written
    change(tmp_path, steps=4, learning_rate=1e-4, check_every=4, log_every=2, overlays=0)
    train(config)
    lines = (tmp_path / "out/log.jsonl").read_text().splitlines()
    assert [line for line in lines if '"lo' in line and '"loss"' not in line] == []
    assert [line.startswith('{"step": 4, "loss"') for line in lines].count(True) == 1


@pytest.mark.parametrize("value", [math.inf, 1e30])
def test_weights_that_are_or_answer_no_numbers_replace_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    config = make_table(tmp_path)
    weights, checkpoint = train(config), tmp_path / "out/checkpoint.pt"
    before = weights.read_bytes(), checkpoint.read_bytes()
    change(tmp_path, steps=3)
    monkeypatch.setattr("torch.optim.AdamW.step", lambda optimizer: spoil_weights(optimizer, value))
    with pytest.raises(ModelError, match=r"no numbers.*; lower learning_rate"):
        train(config)
    assert (weights.read_bytes(), checkpoint.read_bytes()) == before


def test_a_checkpoint_is_no_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(make_table(tmp_path))
    change(tmp_path, out="again", start="out/checkpoint.pt")
    assert main(["train", str(tmp_path / "train.toml")]) == 2
    assert "the checkpoint of a training; expected the weights that it writes at its end" in capsys.readouterr().err


@torch.no_grad()
def spoil_weights(optimizer: torch.optim.Optimizer, value: float) -> None:
    """What a rate far too high does after a last loss that was still a number."""
    for parameter in optimizer.param_groups[0]["params"]:
        parameter.fill_(value)

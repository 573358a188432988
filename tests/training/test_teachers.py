"""What a teacher says of a crop counts beside what was drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.training.teaching import TILES
from tests.training.test_screening import make_table
from wsiparse.errors import InputError
from wsiparse.models.eight_views import VIEWS
from wsiparse.models.open_network import Sizes
from wsiparse.models.weight_file import read_header, read_weights
from wsiparse.training.answers import predict_logits
from wsiparse.training.batches import Batch, BatchSource
from wsiparse.training.loop import teach
from wsiparse.training.settings import TrainingSettings, read_settings
from wsiparse.training.sources import choose_targets, load_lesson
from wsiparse.training.students import start_student
from wsiparse.training.teachers import ask_teacher, soften_truth, start_teacher

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def settings(tmp_path: Path) -> TrainingSettings:
    return read_settings(make_table(tmp_path))


def draw_batch(settings: TrainingSettings) -> Batch:
    student = start_student(settings)
    lesson = load_lesson(settings, TILES)
    return BatchSource(lesson.train, lesson.ontology, settings, student.tokenize).draw(0)


@torch.no_grad()
def answer(weights: Path, batch: Batch) -> Tensor:
    return predict_logits(read_weights(weights)[1].eval(), batch).sigmoid()


class Echo(nn.Module):
    """Answers with a picture's first channel, and for the second prompt with what lies left of each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor, tokens: Tensor, mpp: Tensor) -> Tensor:
        return self.gain * torch.stack([images[:, 0], images[:, 0].roll(1, 2)], 1)


def test_every_view_is_answered_where_its_pixels_lie(settings: TrainingSettings) -> None:
    batch = draw_batch(settings)
    right = predict_logits(Echo(), batch).sigmoid()
    answers = [ask_teacher(Echo(), batch, step) for step in range(len(VIEWS))]
    for answer in answers:
        torch.testing.assert_close(answer[:, 0], right[:, 0])
    assert len({answer[:, 1].numpy().tobytes() for answer in answers}) == 4  # left, above, right and below


def test_hidden_pixels_stay_where_they_are(settings: TrainingSettings) -> None:
    batch = draw_batch(settings)
    batch.hidden[:, :, 3, 5] = True
    for step in range(len(VIEWS)):
        answer = ask_teacher(Echo(), batch, step)
        assert (answer[:, :, 3, 5] < 1e-9).all()
        assert (answer[:, 0][~batch.hidden[:, 0]] >= 0.5).all()


def test_a_share_of_the_answers_is_true_of_what_is_known(settings: TrainingSettings) -> None:
    batch = draw_batch(settings)
    batch.known[0, 0], batch.known[1, 0] = 0, 1
    answers = torch.full_like(batch.truth, 0.5)
    softened = soften_truth(batch, answers, 0.4)
    assert torch.equal(softened.truth[0, 0], batch.truth[0, 0])
    torch.testing.assert_close(softened.truth[1, 0], 0.6 * batch.truth[1, 0] + 0.2)


def test_a_network_learns_what_its_teacher_says(settings: TrainingSettings) -> None:
    first = teach(start_student(settings), settings)
    long = replace(settings, steps=60, check_every=60, average_decay=0.0, weight_decay=0.0, glass_share=0.0)
    batch = draw_batch(long)
    told = answer(first, batch)
    apart = []
    for share in (0.0, 1.0):
        chosen = replace(long, out=settings.out / str(share), seed=3, teacher=str(first), teacher_share=share)
        apart.append(float((answer(teach(start_student(chosen), chosen), batch) - told).abs().mean()))
    assert apart[1] < apart[0] / 2


def test_a_teacher_of_another_kind_is_refused_before_anything_is_written(settings: TrainingSettings) -> None:
    first = teach(start_student(settings), settings)
    wide = replace(settings, out=settings.out / "wide", teacher=str(first))
    other = replace(wide, sizes=replace(settings.sizes or Sizes(), embedding=4))
    with pytest.raises(InputError, match=r"teacher .*tiny\.safetensors: sizes"):
        teach(start_student(other), other)
    missing = replace(wide, teacher="nowhere.safetensors")
    with pytest.raises(InputError, match=r"teacher nowhere\.safetensors: no such file"):
        teach(start_student(missing), missing)
    assert not wide.out.exists()
    assert start_teacher(settings, start_student(settings)) is None


def test_what_a_teacher_taught_is_under_its_licence_too(settings: TrainingSettings) -> None:
    one, other = (
        replace(settings, out=settings.out / name, notes={"licence": name}, steps=1) for name in ("CC BY 4.0", "CC0")
    )
    start, teacher = (str(teach(start_student(chosen), chosen)) for chosen in (one, other))
    taught = replace(settings, out=settings.out / "taught", start=start, teacher=teacher, steps=1)
    assert read_header(teach(start_student(taught), taught)).training["licence"] == "CC BY 4.0 and CC0"
    assert choose_targets(taught).targets == choose_targets(one).targets

"""A batch that does not fit is halved until it does."""

from __future__ import annotations

import pytest
import torch

from wsiparse.models.memory import fit_batch


@pytest.mark.parametrize(("room", "found"), [(8, 8), (7, 4), (3, 2), (1, 1)])
def test_the_batch_is_halved_until_it_fits(room: int, found: int) -> None:
    asked: list[int] = []

    def predict(batch: int) -> str:
        asked.append(batch)
        if batch > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "answer"

    assert fit_batch(predict, 8) == ("answer", found)
    assert asked == [batch for batch in (8, 4, 2, 1) if batch >= found]


def test_where_nothing_fits_a_person_is_told_what_to_do() -> None:
    def predict(batch: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(MemoryError, match="one tile does not fit"):
        fit_batch(predict, 4)


def test_other_errors_pass_through() -> None:
    def predict(batch: int) -> None:
        raise RuntimeError("CUDA error: device-side assert")

    with pytest.raises(RuntimeError, match="assert"):
        fit_batch(predict, 4)

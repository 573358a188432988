"""A batch that does not fit is halved until it does."""

from __future__ import annotations

import pytest
import torch

from wsiparse.models.memory import fit_batch, is_out_of_memory

FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    torch.AcceleratorError("CUDA error: out of memory"),
]


@pytest.mark.parametrize(("room", "found"), [(8, 8), (7, 4), (3, 2), (1, 1)])
@pytest.mark.parametrize("full", FULL, ids=lambda error: str(error)[:30])
def test_the_batch_is_halved_until_it_fits(room: int, found: int, full: RuntimeError) -> None:
    asked: list[int] = []

    def predict(batch: int) -> str:
        asked.append(batch)
        if batch > room:
            raise full
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


@pytest.mark.parametrize("error", [*FULL, MemoryError()], ids=repr)
def test_memory_that_is_full_is_told_from_other_trouble(error: BaseException) -> None:
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert"))
    assert not is_out_of_memory(OSError("not enough memory"))


def test_torchs_own_words_on_processors_are_known() -> None:
    with pytest.raises(RuntimeError) as told:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(told.value)

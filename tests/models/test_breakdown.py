"""An accelerator that broke down ends its process, not the slides."""

from __future__ import annotations

import os
import threading

import pytest
import torch

from wsiparse.models import breakdown
from wsiparse.models.breakdown import BreakdownError, end_at_breakdown, notice_breakdown

BROKEN = [
    torch.AcceleratorError("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported later"),
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
]
SOUND = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    torch.AcceleratorError("CUDA error: out of memory"),
    torch.AcceleratorError("CUDA error: invalid argument"),
    RuntimeError("unknown error"),
    MemoryError(),
]


@pytest.mark.parametrize("error", BROKEN, ids=lambda error: str(error)[:40])
def test_a_breakdown_is_told_in_one_line(error: RuntimeError) -> None:
    with pytest.raises(BreakdownError, match="same command") as told, notice_breakdown():
        raise error
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize("error", SOUND, ids=lambda error: str(error)[:40])
def test_other_trouble_passes_through(error: Exception) -> None:
    with pytest.raises(type(error)) as told, notice_breakdown():
        raise error
    assert told.value is error


def test_a_process_that_is_started_anew_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(breakdown, "_replaceable", threading.Event())
    monkeypatch.setattr(os, "_exit", ended.append)
    end_at_breakdown()
    with pytest.raises(BreakdownError), notice_breakdown():
        raise BROKEN[0]
    assert ended == [1]

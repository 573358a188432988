from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from wsiparse.errors import ModelError
from wsiparse.models.execution import ModelOptions
from wsiparse.models.load import (
    DEFAULT_MODEL,
    ModelSpec,
    choose_device,
    find_drawback,
    find_licence,
    find_shortcut,
    list_models,
    load_model,
)
from wsiparse.models.model import Model

DOCS = Path(__file__).parents[2] / "docs"


def make_model(spec: ModelSpec) -> Model:
    return load_model(ModelSpec(device="cpu", batch=spec.batch))


def make_none(spec: ModelSpec) -> None:
    """A factory that forgot to return its model."""


def make_of_nothing() -> Model:
    return load_model(ModelSpec(device="cpu"))


def make_no_more(spec: ModelSpec) -> Model:
    raise SystemExit("no licence")


def test_the_default_model_is_shipped() -> None:
    assert DEFAULT_MODEL in list_models()
    assert load_model(ModelSpec(device="cpu")).name == DEFAULT_MODEL


def test_the_research_model_is_licensed_for_research_and_finds_cells_as_the_card_says() -> None:
    model = load_model(ModelSpec("wsiparse-research-1", "cpu"))
    assert "CC BY-NC-SA 4.0" in find_licence(model)
    assert "CC BY-NC-SA" not in find_licence(load_model(ModelSpec(device="cpu")))
    card = (DOCS / "models/wsiparse-research-1.md").read_text(encoding="utf-8")
    assert model.digest[:12] in card
    assert all(f"`{target.name}`" in card for target in model.targets if target.group == "cell")


def test_a_process_loads_once_however_many_threads_ask() -> None:
    spec = ModelSpec(device="cpu", batch=3)
    with ThreadPoolExecutor(4) as threads:
        models = list(threads.map(load_model, [spec] * 8))
    assert all(model is models[0] for model in models)


def test_a_spec_travels_and_names_the_same_model() -> None:
    spec = ModelSpec(device="cpu")
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec
    assert load_model(again) is load_model(spec)


def test_a_path_loads_the_same_weights() -> None:
    path = list_models()[DEFAULT_MODEL]
    assert load_model(ModelSpec(str(path), "cpu")).digest == load_model(ModelSpec(device="cpu")).digest


def test_another_digest_is_refused() -> None:
    with pytest.raises(ModelError, match="expected 0123"):
        load_model(ModelSpec(device="cpu", digest="0123"))


def test_a_factory_is_called_with_the_spec() -> None:
    assert load_model(ModelSpec(f"{__name__}:make_model", batch=5)).name == DEFAULT_MODEL


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wsiparse-closed-9", "unknown model 'wsiparse-closed-9'"),
        ("no_such_package.models:make", "No module named"),
        ("wsiparse.models.load:no_such_factory", "no_such_factory"),
        (f"{__name__}:make_none", "its factory gave NoneType without name, digest, .*predict; expected a factory"),
        (f"{__name__}:make_of_nothing", "too many positional arguments; expected a factory that takes a ModelSpec"),
        (f"{__name__}:make_no_more", r"its factory ends the program \(no licence\); expected a factory"),
        ("nowhere.safetensors", "nowhere.safetensors"),
        ("biomedparse", "no weights given; expected biomedparse_v1.pt, .* with --weights"),
    ],
)
def test_names_that_lead_nowhere_are_refused_in_one_line(name: str, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        load_model(ModelSpec(name, device="cpu"))
    assert "\n" not in str(caught.value)


def test_options_reach_the_model() -> None:
    exact, rounded = (
        load_model(ModelSpec(device="cpu", options=ModelOptions(precision=precision)))
        for precision in ("float32", "bfloat16")
    )
    tiles = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    deviation = np.subtract(*(model.predict(tiles, model.targets).astype(int) for model in (exact, rounded)))
    assert 0 < np.abs(deviation).mean() < 255 * 0.02


@pytest.mark.parametrize(
    ("precision", "units", "words"),
    [
        ("bfloat16", {"avx2": True, "avx512_bf16": False}, "does not multiply in it"),
        ("bfloat16", {"avx2": True, "avx512_bf16": True}, ""),
        ("float32", {"avx2": True}, ""),
    ],
)
def test_a_precision_that_the_processor_imitates_is_a_drawback(
    monkeypatch: pytest.MonkeyPatch, precision: str, units: dict[str, bool], words: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)
    drawback = find_drawback(ModelSpec(device="cpu", options=ModelOptions(precision=precision)))
    assert words in drawback
    assert bool(drawback) == bool(words)


def test_a_precision_that_would_be_faster_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, rough = (ModelSpec(device="cpu", options=ModelOptions(precision=name)) for name in ("float32", "bfloat16"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert "--precision bfloat16" in find_shortcut(plain)
    assert not find_shortcut(rough)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert not find_shortcut(plain)


@pytest.mark.parametrize("text", ["warp", "cuda:77", ""])
def test_a_device_that_is_not_here_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="expected auto, cpu or cuda"):
        choose_device(text)

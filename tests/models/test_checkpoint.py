from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.models.official import DATA, REDUCED, load_reduced, official_weights
from wsiparse.cli import main
from wsiparse.errors import ModelError
from wsiparse.models.checkpoint import (
    UNUSED,
    check_tensors,
    convert_weights,
    digest_weights,
    load_weights,
    read_weights,
    rename_official,
    rename_ours,
)
from wsiparse.models.network import Network, build_biomedparse

Weights = dict[str, Tensor]
CLASSES = "sem_seg_head.predictor.class_embed"


def network(**sizes: object) -> Network:
    with torch.device("meta"):
        return build_biomedparse(REDUCED) if sizes else build_biomedparse()


def test_the_published_size_has_exactly_the_official_names_and_shapes() -> None:
    official = json.loads((DATA / "full_keys.json").read_text())
    wanted = {name: tuple(shape) for name, shape in official.items() if not name.startswith(UNUSED)}
    ours = {rename_ours(name): tuple(tensor.shape) for name, tensor in network().state_dict().items()}
    assert ours == wanted
    assert len(official) == 1131
    assert all(rename_official(rename_ours(name)) == name for name in network().state_dict())


def test_what_is_left_unused_is_what_the_list_says() -> None:
    official = json.loads((DATA / "full_keys.json").read_text())
    unused = {name for name in official if name.startswith(UNUSED)}
    elsewhere = {name for name in unused if "biomed_encoder" not in name}
    assert len(unused - elsewhere) == 199
    assert {name.rpartition("predictor.")[2] for name in elsewhere} == {
        "dilation_kernel",
        "pn_indicator.weight",
        "mask_sptial_embed.0",
        "mask_sptial_embed.1",
        "mask_sptial_embed.2",
        "spatial_embed.weight",
        "spatial_featured.weight",
    }


def drop(weights: Weights) -> None:
    del weights[CLASSES]


def add(weights: Weights) -> None:
    weights["sem_seg_head.predictor.extra"] = torch.zeros(1)


def reshape(weights: Weights) -> None:
    weights[CLASSES] = torch.zeros(3, 64)


def spoil(weights: Weights) -> None:
    weights[CLASSES][0, 0] = float("nan")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop, f"{CLASSES} is missing"),
        (add, r"sem_seg_head.predictor.extra is unknown"),
        (reshape, rf"{CLASSES} has shape \(3, 64\), expected \(64, 64\)"),
        (spoil, f"{CLASSES} holds what is no finite number"),
    ],
)
def test_damaged_weights_are_refused_by_name(tmp_path: Path, damage: Callable[[Weights], None], message: str) -> None:
    weights = official_weights()
    damage(weights)
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=message):
        load_reduced(tmp_path / "w.safetensors", torch.float32)


def test_the_training_file_with_its_criterion_is_accepted(tmp_path: Path) -> None:
    torch.save(official_weights() | {"criterion.empty_weight": torch.ones(17)}, tmp_path / "w.pt")
    loaded = load_reduced(tmp_path / "w.pt", torch.float32).state_dict()
    assert torch.equal(loaded["mask_decoder.class_embed"], official_weights()[CLASSES])
    assert not any(tensor.is_meta for tensor in loaded.values())


def test_a_converted_file_holds_the_used_tensors_and_loads_alike(tmp_path: Path) -> None:
    torch.save(official_weights(), tmp_path / "w.pt")
    made = convert_weights(tmp_path / "w.pt", tmp_path / "w.safetensors", REDUCED)
    assert not list(tmp_path.glob(".*"))
    assert made.digest == digest_weights(tmp_path / "w.safetensors")
    converted = load_file(tmp_path / "w.safetensors")
    assert set(converted) == {name for name in official_weights() if not name.startswith(UNUSED)}
    assert made.kept == len(converted)
    assert sum(made.left.values()) == len(official_weights()) - len(converted)
    assert set(made.left) <= set(UNUSED)
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        assert file.metadata() == {"format": "biomedparse-v1"}
    ours, theirs = (load_reduced(tmp_path / name, torch.float32).state_dict() for name in ("w.pt", "w.safetensors"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_conversion_that_is_not_the_published_model_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(official_weights(), tmp_path / "w.pt")
    assert main(["models", "convert", str(tmp_path / "w.pt"), str(tmp_path / "w.safetensors")]) == 2
    assert "missing; expected the complete weights" in capsys.readouterr().err
    assert main(["models", "convert", str(tmp_path / "w.pt"), str(tmp_path / "w.bin")]) == 2
    assert "ends in .safetensors" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["w.pt"]


def test_the_command_says_what_it_wrote_and_what_it_left_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsiparse.models.checkpoint.convert_weights", partial(convert_weights, sizes=REDUCED))
    torch.save(official_weights() | {"criterion.empty_weight": torch.ones(17)}, tmp_path / "w.pt")
    assert main(["models", "convert", str(tmp_path / "w.pt"), str(tmp_path / "w.safetensors")]) == 0
    said = capsys.readouterr().out
    assert "criterion. (1)" in said
    assert digest_weights(tmp_path / "w.safetensors") in said


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(b"weights")
    assert digest_weights(tmp_path / "w.pt") == hashlib.sha256(b"weights").hexdigest()


class Stranger:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("unpickled",))


@pytest.mark.parametrize("content", [b"hello", b"\x80\x02hello", b""])
def test_nobody_is_advised_to_unpickle_what_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fake.pt").write_bytes(content)
    with pytest.raises(ModelError, match=r"fake\.pt: .*expected") as caught:
        read_weights(tmp_path / "fake.pt")
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("content", [{"a": Stranger()}, {"a": 1}, [1, 2]])
def test_a_pickle_of_anything_but_tensors_is_refused_unread(
    tmp_path: Path, content: object, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="expected"):
        read_weights(tmp_path / "w.pt")
    assert not capsys.readouterr().out


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", None])
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match="expected a"):
        load_weights(network(reduced=True), tmp_path / name)


def test_several_missing_tensors_are_counted() -> None:
    expected = {"mask_decoder.class_embed": torch.zeros(1), "backbone.norm0.weight": torch.zeros(1)}
    with pytest.raises(ModelError, match=r"backbone.norm0.weight and 1 more are missing"):
        check_tensors({}, expected, "w.pt")

"""A training config says for each key what it may say, or is refused by that key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.teaching import SIZES, write_config
from tests.training.test_screening import make_table
from wsiparse.errors import InputError, TargetError
from wsiparse.kinds import Kind
from wsiparse.training.loop import train
from wsiparse.training.settings import TrainingSettings, read_settings

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(path for path in (ROOT / "configs/train").glob("*.toml") if "-targets" not in path.stem)
KINDS: dict[str, Kind] = {
    key: hint.__metadata__[0] for key, hint in get_type_hints(TrainingSettings, include_extras=True).items()
}
WRONG: dict[str, list[Any]] = {
    "name": ["", "a/b", ".a", 3],
    "targets": ["dark disc", [], [1], [""]],
    "out": [3, ["a"], ""],
    "examples": [["."]],
    "mpp": [0.5, {"dark disc": 0.0}, {"dark disc": "0.5"}, {"dark disc": 250.0}],
    "case_pattern": ["(", "c", 3],
    "test_share": [1.5, -0.1, "0.2"],
    "learn": ["image"],
    "sizes": [
        "big",
        {"foo": 3},
        {**SIZES, "blocks": [1]},
        {**SIZES, "blocks": ["1", "1"]},
        {**SIZES, "text_heads": 3},
        {**SIZES, "buckets": 1},
        {**SIZES, "scales": 0.25},
        {**SIZES, "scales": [0.25, 0.25]},
        {**SIZES, "scales": [0.25, 250.0]},
        {**SIZES, "scales": ["0.25"]},
    ],
    "seed": [-1, "a", 1.5, 2**63, True],
    "steps": [0, -3, "4", 4.5],
    "batch": [0, "2", 2.5],
    "crop": [0, -32, 32.0, "32"],
    "scales": [[0.7], [1.4, 0.7], [0, 1], 1.0, [0.5, 1, 2]],
    "plain_share": ["a", 5.0],
    "stain_strength": [-1.0, float("nan")],
    "learning_rate": ["1e-3", 0, -1.0, float("nan"), float("inf")],
    "warmup_steps": [-1],
    "check_pictures": [-1],
    "device": [0],
    "boost": [{"dark disc": 0.0}, {"dark disc": "2"}],
    "templates": [[], "{} in pathology", ["find it"], ["{} in {site}"], ["{} and {}"], [1]],
    "absent_prompts": ["bone", [""]],
    "notes": ["x", {"a": 3}],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_what_a_key_does_not_take_is_refused_in_words(key: str, value: Any) -> None:
    assert not KINDS[key].fits(value)


@given(st.sampled_from(sorted(KINDS)), st.recursive(st.none() | st.integers() | st.floats() | st.text(), st.lists))
def test_any_value_fits_or_does_not(key: str, value: Any) -> None:
    assert KINDS[key].fits(value) in (True, False)


def test_a_config_is_refused_by_the_key_that_is_wrong(tmp_path: Path) -> None:
    for changes, words in (
        ({"steps": "4"}, "steps is '4'; expected a whole number above 0"),
        ({"scales": [0.7]}, r"scales is \[0\.7\]; expected two numbers"),
        ({"extends": 3}, "extends is 3; expected the name of a file"),
    ):
        with pytest.raises(InputError, match=rf"train\.toml: {words}"):
            read_settings(write_config(tmp_path, examples=".", **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"boost": {"drak disc": 2.0}}, "unknown target 'drak disc'"),
        ({"absent_prompts": ["骨"]}, "prompt '骨' holds no word"),
        ({"absent_prompts": ["Dark disc!"]}, "'Dark disc!' of absent_prompts and 'dark disc' of dark disc alike"),
        ({"targets": ["dark disc", "black disc"]}, "targets name 'dark disc' twice, as 'black disc' too"),
    ],
)
def test_words_that_nobody_knows_are_refused_before_the_first_step(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    make_table(tmp_path)
    with pytest.raises(TargetError, match=words):
        train(write_config(tmp_path, examples="examples.csv", **changes))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WSIPARSE_SHARED_DATA", "MY_DATA"):
        monkeypatch.setenv(name, str(ROOT))
    assert read_settings(path).targets


def test_paths_are_seen_from_the_config_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_config(tmp_path, examples="$BLOBS/a", start="$BLOBS/lab.safetensors")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/longer.toml").write_text("extends = '../train.toml'\nout = 'out'")
    monkeypatch.setenv("BLOBS", "blobs")
    settings = read_settings(tmp_path / "here/longer.toml")
    assert settings.ontology.resolve() == tmp_path / "ontology.toml"
    assert settings.out.resolve() == tmp_path / "here/out"
    assert settings.examples is not None
    assert settings.examples.resolve() == tmp_path / "blobs/a"
    assert Path(settings.start).resolve() == tmp_path / "blobs/lab.safetensors"


@pytest.mark.parametrize("key", ["out", "start", "slides"])
def test_an_address_is_no_path(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match="path 's3://bucket/a': an address, expected a path on this machine"):
        read_settings(write_config(tmp_path, **{"examples": ".", key: "s3://bucket/a"}))


@pytest.mark.parametrize("name", ["wsiparse-open1", "lab.safetensors", "lab.pt", "."])
def test_weights_to_start_from_that_are_not_there_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"start .*: no such file; expected wsiparse-open-1, .*, or a file of weights"):
        train(write_config(tmp_path, examples=".", start=name))


def test_a_file_that_windows_marked_as_utf_8_is_read(tmp_path: Path) -> None:
    config = write_config(tmp_path, examples=".")
    before = read_settings(config)
    config.write_text(config.read_text(), encoding="utf-8-sig")
    assert read_settings(config) == before

"""What `--help` says of a setting is what holds where none is given."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from wsiparse.commands.settings import add_settings, read_settings
from wsiparse.errors import InputError
from wsiparse.runs.config import RunConfig, load_config
from wsiparse.runs.connect import JOB_SYSTEMS
from wsiparse.runs.submit import load_slurm


def read_help(name: str) -> str:
    parser = argparse.ArgumentParser()
    add_settings(parser)
    (text,) = (action.help for action in parser._actions if action.dest == name)
    return text or ""


@pytest.mark.parametrize(
    "name", ["window", "block_tiles", "simplify", "task_deadline_s", "batch", "win_share", "refuse_below"]
)
def test_defaults_are_told(name: str) -> None:
    assert read_help(name).endswith(f"; {RunConfig.model_fields[name].default:g}")


def test_clusters_are_told() -> None:
    assert {"serial", "local", *JOB_SYSTEMS} <= set(read_help("cluster").replace(",", "").split())


def test_every_setting_can_be_given_on_the_command_line() -> None:
    parser = argparse.ArgumentParser()
    add_settings(parser)
    assert RunConfig.model_fields.keys() <= {action.dest for action in parser._actions}
    assert read_settings(parser.parse_args(["--simplify", "0"])).simplify == 0


def test_a_file_that_windows_marked_as_utf_8_is_read(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("workers = 2", encoding="utf-8-sig")
    assert load_config(tmp_path / "run.toml", {}).workers == 2


def test_a_name_where_a_list_belongs_is_told_in_the_words_of_a_settings_file(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text('targets = "nuclei"\n')
    with pytest.raises(InputError, match=r"setting 'targets' is 'nuclei': expected a list, such as \["):
        load_config(tmp_path / "run.toml", {})


def test_a_setting_that_nobody_knows_is_told_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("block-tiles = 3\n[slurm]\njob = 2\n")
    with pytest.raises(InputError, match=r"run.toml: setting 'block-tiles' is 3: no .*; the nearest is 'block_tiles'"):
        load_config(tmp_path / "run.toml", {})
    with pytest.raises(InputError, match=r"run.toml: setting 'slurm.job' is 2: no .*; the nearest is 'jobs'"):
        load_slurm(tmp_path / "run.toml")


def test_a_file_that_a_config_names_may_lie_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/own.toml").touch()
    (tmp_path / "here.json").touch()
    (tmp_path / "lab/run.toml").write_text('ontology = "own.toml"\nvalidity = "here.json"\n')
    monkeypatch.chdir(tmp_path)
    config = load_config("lab/run.toml", {"weights": "own.toml"})
    assert (config.model, config.ontology) == ("wsiparse-open-1", "lab/own.toml")
    assert (config.validity, config.weights) == ("here.json", "own.toml")

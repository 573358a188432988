"""What is handed to a batch system says what was asked for, and the examples in workflows/ are what is written."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from wsiparse.cli import build_parser, main
from wsiparse.errors import InputError, RunError
from wsiparse.runs.config import RunConfig
from wsiparse.runs.submit import (
    SlurmConfig,
    Submission,
    count_seconds,
    load_slurm,
    render_scripts,
    spell_settings,
    submit_run,
)

ROOT = Path(__file__).parents[2]
EXAMPLE = Submission(("/data/cohort.csv",), Path("/data/results"), Path("/data/slurm.toml"), {})
PYTHON = "/opt/wsiparse/bin/python"
EXAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "one-node.sh": ("run.sh", {"mode": "nodes", "nodes": 1}),
    "many-nodes.sh": ("run.sh", {"mode": "nodes", "nodes": 4, "gpus": 2}),
    "workers.sh": ("run.sh", {"mode": "workers"}),
    "worker.sh": ("worker.sh", {"mode": "workers"}),
    "array.sh": ("run.sh", {"mode": "array"}),
}


def example(name: str) -> str:
    script, changes = EXAMPLES[name]
    slurm = load_slurm(ROOT / "configs/slurm.toml").model_copy(update={"python": PYTHON, **changes})
    return render_scripts(EXAMPLE, slurm)[script]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_what_is_written(name: str) -> None:
    assert (ROOT / "workflows/slurm" / name).read_text() == example(name)


@pytest.mark.parametrize("name", EXAMPLES)
def test_scripts_are_bash_without_blanks_left_to_fill(name: str, tmp_path: Path) -> None:
    (tmp_path / "s.sh").write_text(example(name))
    subprocess.run(["bash", "-n", str(tmp_path / "s.sh")], check=True)
    assert not re.search(r"@\w+@", example(name))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"targets": ("gland", "nucleus"), "prompts": ("glands in colon", "a -b 'c'"), "tissue": False},
        {"model": "a b.safetensors", "block_tiles": 2, "memory_gb": 1.5, "mpp": 0.25, "overlap": 32, "window": 3},
    ],
)
def test_settings_come_back_from_the_command_line_they_are_spelled_as(settings: dict[str, Any]) -> None:
    words = shlex.split(shlex.join(spell_settings(settings)))
    options = build_parser().parse_args(["run", "a.svs", "-o", "out", *words])
    given = {name: getattr(options, name, None) for name in RunConfig.model_fields}
    assert RunConfig(**{name: value for name, value in given.items() if value is not None}) == RunConfig(**settings)


def test_a_dry_run_writes_the_script_and_hands_nothing_in(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.svs").write_text("")
    out = tmp_path / "out dir"
    assert main(["submit", str(tmp_path / "a.svs"), "-o", str(out), "--prompt", "two words", "--dry-run"]) == 0
    text = (out / "submit/run.sh").read_text()
    assert "--prompt 'two words'" in text
    assert shlex.quote(str(out)) in text
    assert (out / "submit/run.sh").stat().st_mode & 0o100
    assert "written" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[slurm]\nmode = 'boat'\n", "'slurm.mode' is 'boat'"),
        ("[slurm]\ngpu = 1\n", "slurm.gpu"),
        ("[slurm]\njobs = 0\n", "jobs"),
        ("slurm = 3\n", "'slurm' is 3"),
        (
            "[slurm]\ntime = '1:00'\n",
            "'slurm.stop_seconds' is 120: .* the walltime, which is 60 seconds: SLURM reads 1:00",
        ),
        ("[slurm]\nsetup = 'module load cuda'\n", "'slurm.setup' is 'module load cuda': expected a list"),
    ],
)
def test_wrong_tables_are_named(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(InputError, match=found):
        load_slurm(tmp_path / "s.toml")


@pytest.mark.parametrize(
    ("walltime", "seconds"),
    [
        ("90", 5400),
        ("1:30", 90),
        ("1:00:00", 3600),
        ("2-12", 216_000),
        ("1-0:30", 88_200),
        ("1-1:1:1", 90_061),
        ("x", None),
    ],
)
def test_a_walltime_is_read_as_slurm_reads_it(walltime: str, seconds: int | None) -> None:
    assert count_seconds(walltime) == seconds


def test_without_a_batch_system_the_script_is_left_for_a_login_node(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.svs").write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["submit", str(tmp_path / "a.svs"), "-o", str(tmp_path / "out")]) == 2
    assert "login node" in capfd.readouterr().err
    assert (tmp_path / "out/submit/run.sh").exists()


@pytest.mark.parametrize(("complaint", "told"), [("sbatch: error: no such partition", "no such"), ("", "exit code 1")])
def test_a_batch_system_that_refuses_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaint: str, told: str
) -> None:
    (tmp_path / "sbatch").write_text(f"#!/bin/sh\necho '{complaint}' >&2\nexit 1\n")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match=rf"sbatch: .*{told}.*; change the table \[slurm\]"):
        submit_run(Submission(("a.svs",), tmp_path / "out", None, {}), SlurmConfig())


def test_paths_are_made_absolute_and_addresses_stay() -> None:
    submission = Submission(("s3://bucket/x.svs", "a.svs"), Path("out"), None, {})
    assert submission.command[1:3] == ["s3://bucket/x.svs", str(Path("a.svs").resolve())]


def test_a_percent_sign_in_the_output_is_no_pattern_of_slurm(tmp_path: Path) -> None:
    script = render_scripts(Submission(("a.svs",), tmp_path / "50%j", None, {}), SlurmConfig())["run.sh"]
    assert f"#SBATCH --output={tmp_path}/50%%j/submit/%x-%j.log" in script
    assert f"output={tmp_path}/50%j" in script


def test_files_that_settings_name_are_found_wherever_the_script_is_handed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.toml").touch()
    settings = {"ontology": "own.toml", "model": "wsiparse-open-1", "validity": "off", "targets": ("own.toml",)}
    words = Submission(("a.svs",), Path("out"), None, settings).command
    given = dict(zip(words[-8::2], words[-7::2], strict=True))
    assert given["--ontology"] == str(tmp_path / "own.toml")
    assert (given["--model"], given["--validity"], given["--targets"]) == ("wsiparse-open-1", "off", "own.toml")


@pytest.mark.parametrize("shard", ["3/3", "x/2", "1", "-1/2", "1/0"])
def test_shards_that_cannot_be(shard: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", "a.svs", "-o", "out", f"--shard={shard}"])
    assert "expected I/N" in capfd.readouterr().err

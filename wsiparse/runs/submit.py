"""A run as a batch job: scripts that a person can read, keep and edit, written into the run's folder and handed in."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from wsiparse.errors import InputError, RunError
from wsiparse.files import write_whole
from wsiparse.runs.config import NAME_FILES, read_toml, say_wrong
from wsiparse.runs.roles import ROLES, THREADS
from wsiparse.slides.remote import is_remote

FOLDER = "submit"
PATIENCE = "--death-timeout 120"
"""A worker without a scheduler for so many seconds ends."""


class SlurmConfig(BaseModel):
    """The table `[slurm]` of a config: what is asked of the batch system."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["nodes", "workers", "array"] = "nodes"
    """`nodes`: one job with everything. `workers`: each worker a job of its own. `array`: shards, without Dask."""
    nodes: int = Field(default=1, ge=1)
    """Nodes of the one job of mode `nodes`."""
    jobs: int = Field(default=4, ge=1)
    """Jobs of the other modes."""
    gpus: int = Field(default=0, ge=0)
    """Accelerators for each node or job; each gets a worker."""
    cpus: int = Field(default=4, ge=1)
    """Processors for each worker."""
    memory: str | None = None
    """Memory for each node or job, as SLURM writes it: `64G`."""
    time: str = "12:00:00"
    """Walltime of a job; a run that needs longer queues up again and goes on."""
    stop_seconds: int = Field(default=120, ge=30, validate_default=True)
    """How long before the walltime a run stops; a walltime no longer than that would only ever queue up again."""
    interface: str | None = None
    """Network interface between the nodes, such as `ib0`."""
    python: str = sys.executable
    """Interpreter that has wsiparse, on the nodes."""
    setup: tuple[str, ...] = ()
    """Shell lines before all else, such as `module load cuda`."""
    options: tuple[str, ...] = ()
    """Further options of sbatch: `--partition=gpu`, `--account=pathology`."""

    @field_validator("stop_seconds")
    @classmethod
    def _leave_time(cls, stop: int, given: ValidationInfo) -> int:
        seconds = count_seconds(given.data.get("time", ""))
        if seconds is not None and seconds <= stop:
            raise ValueError(
                f"expected less than the walltime, which is {seconds} seconds: SLURM reads 1:00 as a minute and "
                "1:00:00 as an hour; raise time"
            )
        return stop

    @property
    def workers_a_node(self) -> int:
        """One for each accelerator, or one."""
        return max(self.gpus, 1)


@dataclass(frozen=True)
class Submission:
    """A run as the command line asked for it, to be carried out elsewhere."""

    slides: tuple[str, ...]
    output: Path
    config: Path | None
    settings: Mapping[str, Any]
    """Settings of the command line, which stand above those of the config."""

    @property
    def command(self) -> list[str]:
        """Arguments of `wsiparse`, with absolute paths; addresses stay."""
        slides = [slide if is_remote(slide) else str(Path(slide).resolve()) for slide in self.slides]
        config = ["--config", str(self.config.resolve())] if self.config else []
        settings = {name: _place(name, value) for name, value in self.settings.items()}
        return ["run", *slides, "-o", str(self.output.resolve()), *config, *spell_settings(settings)]


def _place(name: str, value: Any) -> Any:
    """A setting that names a file that is there as its absolute path: a script is handed in from elsewhere."""
    return str(Path(value).resolve()) if name in NAME_FILES and Path(value).is_file() else value


def count_seconds(walltime: str) -> int | None:
    """Seconds of a walltime as SLURM reads it: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S; None for any other text."""
    parts = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", walltime.strip())
    if parts is None:
        return None
    days, first, second, third = (int(part or 0) for part in parts.groups())
    if parts[1] or parts[4]:
        return ((days * 24 + first) * 60 + second) * 60 + third
    return first * 60 + second


def load_slurm(path: Path | None) -> SlurmConfig:
    """The table `[slurm]` of a TOML file; defaults where there is none."""
    table = read_toml(path).get("slurm", {}) if path else {}
    try:
        return SlurmConfig.model_validate(table)
    except ValidationError as error:
        raise InputError(f"{path}: {say_wrong(error, SlurmConfig, 'slurm')}") from error


def spell_settings(settings: Mapping[str, Any]) -> list[str]:
    """Settings as the options of the command line that give them."""
    return [word for name, value in settings.items() for word in _spell(name, value)]


def _spell(name: str, value: Any) -> list[str]:
    if name == "prompts":
        return [word for prompt in value for word in ("--prompt", prompt)]
    if name == "tissue":
        return [] if value else ["--no-tissue"]
    option = f"--{name.replace('_', '-')}"
    if value is True:
        return [option]
    return [option, ",".join(value) if isinstance(value, tuple) else str(value)]


def render_scripts(submission: Submission, slurm: SlurmConfig) -> dict[str, str]:
    """The scripts of a submission by their file names; `run.sh` is the one to hand in."""
    places = _fill_places(submission, slurm)
    scripts = {"run.sh": _fill(slurm.mode, places)}
    if slurm.mode == "workers":
        scripts["worker.sh"] = _fill("worker", places)
    return scripts


def submit_run(submission: Submission, slurm: SlurmConfig, dry: bool = False) -> str:
    """Write the scripts into OUT/submit and hand them in; returns the job's number, or nothing where `dry`.

    Raises RunError in one line where there is no sbatch or it refuses.
    """
    folder = submission.output.resolve() / FOLDER
    for name, text in render_scripts(submission, slurm).items():
        with write_whole(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
            partial.chmod(0o755)
    return "" if dry else _hand_in(folder / "run.sh")


def _hand_in(script: Path) -> str:
    try:
        done = subprocess.run(["sbatch", "--parsable", str(script)], capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise RunError(f"no sbatch on this machine; {script} is written, hand it in on a login node") from error
    except subprocess.CalledProcessError as error:
        text = (error.stderr.strip() or f"exit code {error.returncode}").splitlines()[-1]
        raise RunError(f"sbatch: {text}; change the table [slurm] or edit {script} and hand it in") from error
    return done.stdout.strip().partition(";")[0]


def _fill(name: str, places: Mapping[str, str]) -> str:
    text = (files(__package__) / "scripts" / f"{name}.sh").read_text(encoding="utf-8")
    lines = re.sub(r"@(\w+)@", lambda found: places[found[1]], text).splitlines()
    return "\n".join(line for n, line in enumerate(lines) if line or lines[n - 1]) + "\n"


def _fill_places(submission: Submission, slurm: SlurmConfig) -> dict[str, str]:
    roles = " ".join(f"{name}={count}" for name, count in ROLES.items())
    interface = f" --interface {slurm.interface}" if slurm.interface else ""
    return {
        "header": _header(submission, slurm, "USR1"),
        "worker_header": _header(submission, slurm, "TERM"),
        "resources": _resources(slurm),
        "worker_resources": _resources(slurm.model_copy(update={"gpus": min(slurm.gpus, 1)})),
        "setup": "\n".join(slurm.setup),
        "nodes": str(slurm.nodes),
        "tasks": str(slurm.workers_a_node),
        "jobs": str(slurm.jobs),
        "last": str(slurm.jobs - 1),
        "cpus": str(slurm.cpus),
        "gpu_task": " --gpus-per-task=1" if slurm.gpus else "",
        "interface": interface,
        "worker": f'--nthreads {THREADS} --resources "{roles}" --memory-limit 0 --no-dashboard{interface} {PATIENCE}',
        "output": shlex.quote(str(submission.output.resolve())),
        "python": shlex.quote(slurm.python),
        "run": f'"$python" -m wsiparse {_break_lines(submission.command)}',
        "follow": (files(__package__) / "scripts/follow.sh").read_text(encoding="utf-8").rstrip(),
    }


def _header(submission: Submission, slurm: SlurmConfig, signal: str) -> str:
    output = submission.output.resolve()
    folder = str(output / FOLDER).replace("%", "%%")  # SLURM fills in what follows a single one
    log = f"{folder}/{'%x-%A-%a.log' if slurm.mode == 'array' else '%x-%j.log'}"
    options = [
        shlex.quote(f"--job-name=wsiparse-{output.name}"),
        shlex.quote(f"--output={log}"),
        "--open-mode=append",
        f"--time={slurm.time}",
        f"--signal=B:{signal}@{slurm.stop_seconds}",
        "--requeue",
        *slurm.options,
    ]
    return "\n".join(f"#SBATCH {option}" for option in options)


def _resources(slurm: SlurmConfig) -> str:
    gpus = [f"#SBATCH --gpus-per-node={slurm.gpus}"] if slurm.gpus else []
    memory = [f"#SBATCH --mem={slurm.memory}"] if slurm.memory else []
    return "\n".join([*gpus, *memory])


def _break_lines(command: Sequence[str]) -> str:
    """Each option on a line of its own."""
    words = [shlex.quote(word) for word in command]
    return " ".join(f"\\\n  {word}" if word.startswith("-") else word for word in words)

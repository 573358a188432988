"""The checkpoint of a training: all it needs to go on, and what decides its weights, so that no other takes it up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO, Protocol

import torch

from wsiparse.errors import RunError
from wsiparse.files import settle_open, write_whole
from wsiparse.slides.files import fingerprint_file
from wsiparse.training.settings import TrainingSettings
from wsiparse.training.sources import Lesson
from wsiparse.training.students import find_weights

FREE = {
    *("name", "out", "notes", "device", "log_every", "check_every", "check_pictures", "overlays"),
    *("start_share", "kept", "steps", "learning_rate", "warmup_steps", "average_decay"),
}
"""Settings that may change before a training goes on; not `weight_decay`, for the optimiser brings back its own."""
SHOWN_BY_DATA = {
    *("ontology", "targets", "examples", "data", "slides", "mapping", "mpp", "case_pattern", "test_share", "apart")
}
"""Settings that are compared by what they make of targets and samples, whatever a file is called."""
_FAULTS = (OSError, EOFError, RuntimeError, UnpicklingError, ValueError, LookupError, TypeError, AttributeError)


class Stateful(Protocol):
    """A network or an optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """All that it must be given back."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take that back."""


@dataclass(frozen=True)
class Checkpoint:
    """A file that is whole or absent."""

    path: Path
    decided: Mapping[str, str]
    """What decides the training's weights, as `describe_training` tells it."""

    def save(self, step: int, states: Sequence[Stateful]) -> None:
        """Keep the states after so many steps."""
        kept = {"step": step, "decided": dict(self.decided), "states": [state.state_dict() for state in states]}
        with write_whole(self.path) as partial, partial.open("wb") as file:
            _write_through(kept, file)

    def load(self, states: Sequence[Stateful]) -> int:
        """Put the states back; the number of steps done, 0 where there is no file.

        Raises RunError for a file that cannot be read or is of another training.
        """
        if not self.path.exists():
            return 0
        try:
            kept = torch.load(self.path, map_location="cpu", weights_only=True)
            self._refuse_other(kept.get("decided", {}))
            for state, value in zip(states, kept["states"], strict=True):
                state.load_state_dict(value)
            return int(kept["step"])
        except _FAULTS as error:
            told = str(error).partition("\n")[0].partition(". ")[0] or type(error).__name__
            raise RunError(f"{self.path}: {told}; expected a whole checkpoint; remove it to start anew") from error

    def _refuse_other(self, decided: Mapping[str, str]) -> None:
        before = {**_describe_unsaid(), **decided} if decided else {}
        if other := sorted(key for key, value in self.decided.items() if before.get(key) != value):
            found = f"of a training with other {', '.join(other)}" if decided else "written by an earlier version"
            raise RunError(
                f"{self.path}: {found}; expected one of the training that this config tells; choose another out, or "
                "remove it to start anew"
            )


def _write_through(value: object, file: BinaryIO) -> None:
    """Write a value onto the disk itself: a power loss after the file took its name would leave an empty one."""
    try:
        torch.save(value, file)
    except RuntimeError as error:
        told = error.__context__  # by the file, of a disk that is full
        raise (told if isinstance(told, OSError) else error) from None
    file.flush()
    settle_open(file.fileno())


def describe_training(settings: TrainingSettings, lesson: Lesson) -> dict[str, str]:
    """What decides a training's weights: settings, the weights started from, targets with their words, and samples."""
    told = {key: value for key, value in asdict(settings).items() if key not in FREE | SHOWN_BY_DATA}
    start = find_weights(settings, "start")
    told["start"] = fingerprint_file(start) if start else ""
    samples = _digest(sample.fingerprint for sample in lesson.train)
    return {**_describe(told), "targets": lesson.ontology.digest, "samples": samples}


def _describe_unsaid() -> dict[str, str]:
    """The settings where a config says nothing: so a checkpoint was made that is older than a setting."""
    defaults = {entry.name: entry.default for entry in fields(TrainingSettings) if entry.default is not MISSING}
    return _describe({key: value for key, value in defaults.items() if key not in FREE | SHOWN_BY_DATA})


def _describe(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: json.dumps(value, sort_keys=True) for key, value in values.items()}


def _digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()

"""Moments of a contender's work, printed for whoever measures it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Moment:
    """A moment, and the seconds of processor the process had taken by then."""

    time: float
    processor_seconds: float


class Marks:
    """Begins when it is made, after the imports, and so leaves out what starting Python takes."""

    def __init__(self) -> None:
        self.moments: dict[str, Moment] = {}
        self.set("began")

    def set(self, name: str) -> None:
        """Remember this moment; a later one of the same name takes its place."""
        self.moments[name] = Moment(time.time(), time.process_time())

    def print(self) -> None:
        """Print all moments as the last line."""
        print("\n" + json.dumps({name: vars(moment) for name, moment in self.moments.items()}), flush=True)


def read_marks(output: str) -> dict[str, Moment]:
    """The moments of the last line that a contender printed."""
    return {name: Moment(**moment) for name, moment in json.loads(output.splitlines()[-1]).items()}

"""Models without weights, whose answer a test can work out for itself; named to the engine as `tests.tiny:...`."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsiparse.models.load import ModelSpec
from wsiparse.ontology import Target

DARK = Target("dark", "dark things", "tone", (200, 0, 0), 0.5, threshold=0.6)
LIGHT = Target("light", "light things", "tone", (0, 0, 200), 0.5, threshold=0.6)
RED = Target("red", "red things", "hue", (0, 200, 0), 1.0, instances=True)


@dataclass(frozen=True)
class ToneModel:
    """Answers from each pixel alone: `dark` is 255 - green, `light` green, `red` red."""

    name: str = "tone"
    digest: str = "0" * 64
    targets: tuple[Target, ...] = (DARK, LIGHT, RED)
    tile: int = 84
    tile_bytes: int = 84 * 84 * 16

    def predict(self, pixels: NDArray[np.uint8], targets: Sequence[Target]) -> NDArray[np.uint8]:
        answers = {"dark": 255 - pixels[..., 1], "light": pixels[..., 1], "red": pixels[..., 0]}
        return np.stack([answers[target.name] for target in targets], 1)


def build_tone(spec: ModelSpec) -> ToneModel:
    return ToneModel()


def build_large(spec: ModelSpec) -> ToneModel:
    return ToneModel(tile=1024, tile_bytes=1024 * 1024 * 16)


class SlowModel(ToneModel):
    """The same answers, slowly enough to be interrupted."""

    def predict(self, pixels: NDArray[np.uint8], targets: Sequence[Target]) -> NDArray[np.uint8]:
        time.sleep(0.05)
        return super().predict(pixels, targets)


def build_slow(spec: ModelSpec) -> SlowModel:
    return SlowModel()


HANGS = "WSIPARSE_TEST_HANGS"
"""Variable that names a file; whoever makes it first hangs."""


class HangingModel(ToneModel):
    """Never answers once, when several blocks have been answered; then it does."""

    asked = itertools.count()

    def predict(self, pixels: NDArray[np.uint8], targets: Sequence[Target]) -> NDArray[np.uint8]:
        if next(self.asked) == 3:
            with suppress(FileExistsError), open(os.environ[HANGS], "x"):
                threading.Event().wait()
        return super().predict(pixels, targets)


def build_hanging(spec: ModelSpec) -> HangingModel:
    return HangingModel()


BREAKS = "WSIPARSE_TEST_BREAKS"
"""Variable that names a file; the accelerator of whoever makes it first breaks down."""


class BreakingModel(ToneModel):
    """Its accelerator breaks down once, when several blocks have been answered; that process is answered no more."""

    asked = itertools.count()
    broken = threading.Event()

    def predict(self, pixels: NDArray[np.uint8], targets: Sequence[Target]) -> NDArray[np.uint8]:
        if next(self.asked) == 3:
            with suppress(FileExistsError), open(os.environ[BREAKS], "x"):
                self.broken.set()
        if self.broken.is_set():
            raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported later")
        return super().predict(pixels, targets)


def build_breaking(spec: ModelSpec) -> BreakingModel:
    return BreakingModel()


class HungryModel(ToneModel):
    """Has no memory for a block that shows black, as one slide of a cohort may do."""

    def predict(self, pixels: NDArray[np.uint8], targets: Sequence[Target]) -> NDArray[np.uint8]:
        if pixels.min() < 10:
            raise MemoryError("a worker's memory is used up")
        return super().predict(pixels, targets)


def build_hungry(spec: ModelSpec) -> HungryModel:
    return HungryModel()


class DeadlyModel(ToneModel):
    """Kills every process that asks it about black."""

    def predict(self, pixels: NDArray[np.uint8], targets: Sequence[Target]) -> NDArray[np.uint8]:
        if pixels.min() < 10:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(pixels, targets)


def build_deadly(spec: ModelSpec) -> DeadlyModel:
    return DeadlyModel()


ALPHA = Target("alpha", "alpha cells", "cell", (200, 0, 0), 0.5)
BETA = Target("beta", "beta cells", "cell", (0, 0, 200), 0.5)
GAMMA = Target("gamma", "gamma cells", "cell", (0, 200, 0), 0.5)
DELTA = Target("delta", "delta cells", "cell", (0, 200, 200), 0.5)


@dataclass(frozen=True)
class RivalModel(ToneModel):
    """Targets that exclude each other: `alpha` is dark; `beta` is surer of it where red is light too; `gamma` is less
    sure everywhere; `delta` is nowhere.
    """

    name: str = "rivals"
    targets: tuple[Target, ...] = (ALPHA, BETA, GAMMA, DELTA)

    def predict(self, pixels: NDArray[np.uint8], targets: Sequence[Target]) -> NDArray[np.uint8]:
        dark = (pixels[..., 1] < 160).astype(np.uint8)
        reddish = (pixels[..., 0] > 190).astype(np.uint8)
        answers = {"alpha": dark * 200, "beta": dark * reddish * 220, "gamma": dark * 150, "delta": dark * 0}
        return np.stack([answers[target.name] for target in targets], 1)


def build_rivals(spec: ModelSpec) -> RivalModel:
    return RivalModel()

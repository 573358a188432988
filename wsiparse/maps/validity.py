"""Is what a prompt asked for really there? Statistics of its masks against those of images that do contain it.

Of each mask four means are taken: the probability inside, and red, green and blue of the image there. For each of them
a Beta distribution was fitted over valid images, and a Kolmogorov–Smirnov test tells how unusual the value is. The test
is advisory: most prompts for what is absent are betrayed by an empty mask, and the colours know one stain only.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy  # loads `stats` at its first use: 30 MB that a run without tests never needs
from numpy.typing import ArrayLike, NDArray
from scipy import special

from wsiparse.errors import InputError
from wsiparse.files import write_json
from wsiparse.ontology import Target

FEATURES = ("probability", "red", "green", "blue")
INSIDE = 128
"""A pixel is in the mask where 255 p reaches this."""
SCALE = 256
"""Means are divided by this, not by 255: the fits were made so."""
PAPER_THRESHOLD = 0.01
"""Below it the paper rejects a prompt, by the product of the four p-values."""
CODE_THRESHOLD = 0.05
"""Below it the official notebooks reject a prompt, by the fourth root of the product."""
MODALITY = "Pathology"
MIN_SAMPLES = 20
"""Fewer images say nothing of a distribution's tails, which is where a prompt is refused."""
_EXACT_PIXELS = 1 << 16
"""So many values of 8 bits add up to less than 2²⁴: in whatever order, float32 holds their sum exactly."""


@dataclass(frozen=True)
class BetaFit:
    """A Beta distribution over 0..1."""

    a: float
    b: float

    def cdf(self, values: ArrayLike) -> NDArray[np.float64]:
        """Probability of a value up to each of these."""
        below: NDArray[np.float64] = special.betainc(self.a, self.b, np.asarray(values, float))
        return below


Fits = Mapping[str, tuple[BetaFit, ...]]
"""For each target one fit a feature, in the order of `FEATURES`."""


def load_fits(path: str | Path) -> Fits:
    """The fits of pathology from a JSON file {modality: {target: [[a, b] × 4]}}.

    Raises InputError where the file is none such, lacks the modality or has what is no Beta distribution.
    """
    try:
        targets = json.loads(Path(path).read_text(encoding="utf-8"))[MODALITY]
        fits = {name: tuple(BetaFit(float(a), float(b)) for a, b in pairs) for name, pairs in targets.items()}
    except OSError as error:
        raise InputError(f"validity fits {path}: {error.strerror}; expected a JSON file of Beta fits") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"validity fits {path}: no {MODALITY!r} of [a, b] pairs ({error}); check the file") from error
    for name, of_target in fits.items():
        _check_fits(path, name, of_target)
    return fits


def _check_fits(path: str | Path, name: str, fits: tuple[BetaFit, ...]) -> None:
    if len(fits) != len(FEATURES):
        raise InputError(
            f"validity fits {path}: target {name!r} has {len(fits)} pairs, expected one each for {', '.join(FEATURES)}"
        )
    for pair in map(astuple, fits):
        if not all(0 < number < math.inf for number in pair):
            raise InputError(
                f"validity fits {path}: target {name!r} has {pair}, expected numbers above 0; fit it again"
            )


def write_fits(path: Path, fits: Fits, samples: Mapping[str, int]) -> None:
    """Write fits as `load_fits` reads them, and beside them from how many samples each target's were made."""
    pairs = {name: [list(astuple(fit)) for fit in of_target] for name, of_target in fits.items()}
    write_json(path, {MODALITY: pairs, "samples": {MODALITY: dict(samples)}})


def digest_fits(fits: Fits) -> str:
    """SHA-256 of the numbers, wherever they were read."""
    text = json.dumps({name: [astuple(fit) for fit in of_target] for name, of_target in fits.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def choose_fits(fits: Fits, targets: Iterable[Target]) -> Fits:
    """The fits of those targets that have some, by the target's own name.

    Fits go by the object alone: a target has those of its name, its prompt or a synonym, with or without the words
    "in [site] pathology" behind.
    """
    known = {name.casefold(): of_target for name, of_target in fits.items()}
    chosen = {}
    for target in targets:
        words = (word.casefold() for word in (target.name, target.prompt, *target.synonyms))
        names = [name for word in words for name in (word, word.partition(" in ")[0]) if name in known]
        if names:
            chosen[target.name] = known[names[0]]
    return chosen


def fit_features(name: str, statistics: NDArray[np.float64]) -> tuple[BetaFit, ...]:
    """The fits of a target from the statistics [N, features] of images that do contain it.

    Raises InputError where there are fewer than `MIN_SAMPLES`.
    """
    if len(statistics) < MIN_SAMPLES:
        raise InputError(
            f"target {name!r}: {len(statistics)} tiles show it and have a mask, expected at least {MIN_SAMPLES}; "
            "label more, or leave the target out"
        )
    # A mask of a few black pixels has a mean of 0, which no Beta gives any likelihood: it counts as half a step of 1.
    within = np.clip(statistics, 0.5 / SCALE, 1 - 0.5 / SCALE)
    return tuple(fit_beta(within[:, i]) for i in range(len(FEATURES)))


def fit_beta(samples: ArrayLike) -> BetaFit:
    """The Beta distribution under which samples within 0..1 are most likely.

    Raises InputError for fewer than two different samples, or where one is not between 0 and 1.
    """
    values = np.asarray(samples, float)
    if np.unique(values).size < 2 or not ((values > 0) & (values < 1)).all():
        raise InputError(
            f"{values.size} samples from {values.min(initial=1.0)} to {values.max(initial=0.0)}; expected at least two "
            "different ones above 0 and below 1; collect more"
        )
    a, b, _, _ = scipy.stats.beta.fit(values, floc=0, fscale=1)
    return BetaFit(float(a), float(b))


def measure_masks(probabilities: NDArray[Any], pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Means inside each mask [N, K, features]; 0 where it is empty.

    Probabilities [N, K, h, w] are 255 p, rounded or not; pixels are [N, h, w, 3].
    """
    return average_masks(np.stack([sum_masks(*tile) for tile in zip(probabilities, pixels, strict=True)]))


def sum_masks(probabilities: NDArray[Any], pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Area of each mask of a tile, and sums of the features inside [K, 1 + features]; whole numbers, as 255 p is.

    Probabilities [K, h, w] are 255 p, pixels are [h, w, 3].
    """
    inside = probabilities >= INSIDE  # [K, h, w]
    sums = np.zeros((len(inside), 1 + len(FEATURES)))
    sums[:, 0] = np.count_nonzero(inside, axis=(1, 2))
    found = np.flatnonzero(sums[:, 0])
    if len(found):
        sums[found, 1] = (probabilities[found] * inside[found]).sum((1, 2), dtype=np.float64)
        sums[found, 2:] = _sum_colors(inside[found].reshape(len(found), -1), pixels.reshape(-1, 3))
    return sums


def _sum_colors(inside: NDArray[np.bool_], colors: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Sums [K, 3] of colours [pixels, 3] where inside [K, pixels]."""
    sums = np.zeros((len(inside), 3))
    for start in range(0, len(colors), _EXACT_PIXELS):
        part = slice(start, start + _EXACT_PIXELS)
        sums += inside[:, part].astype(np.float32) @ colors[part].astype(np.float32)
    return sums


def average_masks(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Statistics [..., features] of the sums of masks [..., 1 + features]."""
    means: NDArray[np.float64] = sums[..., 1:] / (SCALE * np.maximum(sums[..., :1], 1))
    return means


def judge_tile(statistics: NDArray[np.float64], fits: tuple[BetaFit, ...]) -> NDArray[np.float64]:
    """p-values [...] of single tiles with statistics [..., features]: the product over the features, as in the paper.

    For one sample the two-sided Kolmogorov–Smirnov test is 2 min(F, 1 - F); an empty mask gets 0.
    """
    below = np.stack([fit.cdf(statistics[..., i]) for i, fit in enumerate(fits)], -1)
    p_values: NDArray[np.float64] = np.prod(2 * np.minimum(below, 1 - below), axis=-1)
    return p_values


def judge_slide(statistics: NDArray[np.float64], fits: tuple[BetaFit, ...]) -> float:
    """The p-value of a slide whose tiles have statistics [N, features]; tiles with an empty mask have no say.

    One test over all tiles per feature, then the product. It is stricter than any tile's: with many tiles a slide must
    have the very spread of the fitted images, not only lie within it. Without any mask it is 0.
    """
    found = statistics[statistics[:, 0] > 0]
    if not len(found):
        return 0.0
    return float(np.prod([scipy.stats.ks_1samp(found[:, i], fit.cdf).pvalue for i, fit in enumerate(fits)]))


def adjust(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The geometric mean of the four p-values behind each product: what the official code compares with a threshold."""
    return p_values ** (1 / len(FEATURES))

"""Is what a prompt asked for really there? Statistics of its masks against those of images that do contain it.

Of each mask four means are taken: the probability inside, and red, green and blue of the image there. For each of them
a Beta distribution was fitted over valid images, and a Kolmogorov–Smirnov test tells how unusual the value is. The test
is advisory: most prompts for what is absent are betrayed by an empty mask, and the colours know one stain only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from wsiparse.errors import InputError

FEATURES = ("probability", "red", "green", "blue")
INSIDE = 128
"""A pixel is in the mask where 255 p reaches this."""
SCALE = 256
"""Means are divided by this, not by 255: the fits were made so."""
PAPER_THRESHOLD = 0.01
"""Below it the paper rejects a prompt, by the product of the four p-values."""
CODE_THRESHOLD = 0.05
"""Below it the official notebooks reject a prompt, by the fourth root of the product."""


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


def load_fits(path: str | Path, modality: str = "Pathology") -> Fits:
    """The fits of one modality from a JSON file {modality: {target: [[a, b] × 4]}}.

    Raises InputError where the file is none such or lacks the modality.
    """
    try:
        targets = json.loads(Path(path).read_text(encoding="utf-8"))[modality]
        return {name: tuple(BetaFit(float(a), float(b)) for a, b in pairs) for name, pairs in targets.items()}
    except OSError as error:
        raise InputError(f"validity fits {path}: {error.strerror}; expected a JSON file of Beta fits") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"validity fits {path}: no {modality!r} of [a, b] pairs ({error}); check the file") from error


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
    a, b, _, _ = stats.beta.fit(values, floc=0, fscale=1)
    return BetaFit(float(a), float(b))


def measure_masks(probabilities: NDArray[Any], pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Means inside each mask [N, K, features]; 0 where it is empty.

    Probabilities [N, K, h, w] are 255 p, rounded or not; pixels are [N, h, w, 3].
    """
    inside = probabilities >= INSIDE  # [N, K, h, w]
    areas = inside.sum((2, 3))
    certainty = np.where(inside, probabilities, 0).sum((2, 3), dtype=np.float64)[..., None]
    places = inside.reshape(*areas.shape, -1).astype(np.float64)
    colors = places @ pixels.reshape(len(pixels), -1, 3).astype(np.float64)  # [N, K, 3]
    sums = np.concatenate([certainty, colors], 2)  # [N, K, features]
    means: NDArray[np.float64] = sums / (SCALE * np.maximum(areas, 1)[..., None])
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
    return float(np.prod([stats.ks_1samp(found[:, i], fit.cdf).pvalue for i, fit in enumerate(fits)]))


def adjust(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The geometric mean of the four p-values behind each product: what the official code compares with a threshold."""
    return p_values ** (1 / len(FEATURES))

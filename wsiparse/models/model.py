"""What the engine asks of a model, whichever it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from wsiparse.ontology import Target

Probabilities = NDArray[np.uint8]
"""Probabilities p as round(255 p): quantised by the model on its own device, so that a quarter of the bytes travel."""
TextVectors = NDArray[np.float32]
"""Unit vectors [N, D] of texts; the cosine of two says how near the texts are."""


class Model(Protocol):
    """A text-prompted segmentation model over square tiles."""

    @property
    def name(self) -> str:
        """What a person calls it, with its version."""

    @property
    def digest(self) -> str:
        """SHA-256 of the weights; it guards the resume of a run."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """What the model was trained to find, with the working scale of each."""

    @property
    def tile(self) -> int:
        """Side of the square tile it is asked about, in pixels at a target's working mpp."""

    @property
    def tile_bytes(self) -> int:
        """Memory it takes to answer about a tile, and about those that it answers beside it."""

    def predict(self, pixels: NDArray[np.uint8], targets: Sequence[Target]) -> Probabilities:
        """Probabilities of tiles [N, tile, tile, 3] as uint8 [N, K, tile, tile], K in the order of `targets`.

        A tile's result does not depend on the tiles it is batched with. Who names a stride (`ElasticModel`) is given
        tiles of any height and width that are multiples of it.
        """


@runtime_checkable
class TextModel(Protocol):
    """What a model has besides that can tell how near two wordings are."""

    @property
    def least_similarity(self) -> float:
        """Cosine from which a text may be taken for the target with the nearest wording."""

    def embed_texts(self, texts: Sequence[str]) -> TextVectors:
        """Vectors of texts."""

"""Pictures to learn from: images with masks of what is in them, how often each is drawn, and what it says."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsiparse.errors import ReferenceFileError, TargetError
from wsiparse.evaluation.rasters import read_picture
from wsiparse.ontology import Ontology
from wsiparse.slides.image import ImageReader, describe_image
from wsiparse.training.examples import Example
from wsiparse.training.touching import find_borders

NEARLY_WHITE = 240
"""Value from which a pixel of a mask was 255 before losses."""


@dataclass(frozen=True)
class Picture:
    """An image's pixels in memory, and what is known of them."""

    pixels: NDArray[np.uint8]  # [H, W, 3]
    masks: NDArray[np.bool_]  # [L, H, W]
    layers: tuple[tuple[str, ...], ...]
    """Names of the targets that each mask outlines."""
    known: tuple[str, ...] | None = None
    """Targets about which all is known, outlined or not; None says it of all in the outlined ones' groups."""
    hidden: NDArray[np.bool_] | None = None  # [H, W]
    """Pixels about which nothing is known; None knows all of them."""
    absent: tuple[str, ...] = ()
    """Targets that are nowhere in it, beside those of the outlined ones' groups."""
    mpp: float | None = None
    """µm per pixel, where the table knew it."""
    borders: NDArray[np.bool_] | None = None  # [H, W]
    """Pixels where two objects touch; None where no mask numbers its objects."""
    name: str = ""
    """That of its file."""

    @property
    def present(self) -> tuple[str, ...]:
        """Names of all that is outlined, in the order of the masks."""
        return tuple(dict.fromkeys(name for names in self.layers for name in names))

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Pixels [H, W] that any mask outlines."""
        union: NDArray[np.bool_] = np.logical_or.reduce(self.masks, 0)
        return union

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its pixels and of all that is known of them."""
        arrays = [array for array in (self.pixels, self.masks, self.hidden, self.borders) if array is not None]
        told = (self.layers, self.known, self.absent, self.mpp, [array.shape for array in arrays])
        digest = hashlib.sha256(repr(told).encode())
        for array in arrays:
            digest.update(array.tobytes())
        return digest.hexdigest()

    def outline(self, name: str) -> NDArray[np.bool_]:
        """Pixels [H, W] that a mask of a target outlines."""
        return self.select([name]).mask

    def read(self) -> Picture:
        """Itself: it is in memory already."""
        return self

    def resize(self, scale: float) -> Picture:
        """The picture `scale` times as large, averaged or interpolated as a run resamples its slides."""
        size = (max(round(self.pixels.shape[1] * scale), 1), max(round(self.pixels.shape[0] * scale), 1))
        kernel = Image.Resampling.BILINEAR if scale > 1 else Image.Resampling.BOX

        def resize(raster: NDArray[np.uint8]) -> NDArray[np.uint8]:
            return np.asarray(Image.fromarray(raster).resize(size, kernel))

        masks = [resize(mask * np.uint8(255)) >= 128 for mask in self.masks]
        hidden = None if self.hidden is None else resize(self.hidden * np.uint8(255)) >= 128
        masked = replace(self, masks=_stack_masks(masks, size[::-1]), hidden=hidden)
        return replace(masked, pixels=resize(self.pixels), mpp=self.mpp and self.mpp / scale)

    def select(self, names: Sequence[str]) -> Picture:
        """The picture of some targets, about which all is known; it says nothing of others."""
        kept = [n for n, layer in enumerate(self.layers) if set(layer) & set(names)]
        layers = tuple(tuple(name for name in self.layers[n] if name in names) for n in kept)
        return replace(self, masks=self.masks[kept], layers=layers, known=tuple(names))

    def stack(self) -> NDArray[np.uint8]:
        """Red, green, blue, the masks and what is hidden as 0 or 255: [3 + L + 1, H, W]."""
        hidden = np.zeros(self.pixels.shape[:2], np.bool_) if self.hidden is None else self.hidden
        flags = np.concatenate([self.masks, hidden[None]]) * np.uint8(255)
        return np.concatenate([self.pixels.transpose(2, 0, 1), flags])


class Sample(Protocol):
    """Something to learn from, in memory or not: an image, or a tile of a slide."""

    @property
    def present(self) -> tuple[str, ...]:
        """Names of the targets that are outlined in it."""

    @property
    def fingerprint(self) -> str:
        """What tells it from any other."""

    def read(self) -> Picture:
        """Its pixels and masks."""


def load_picture(*examples: Example) -> Picture:
    """The pixels and the masks of examples of one image.

    Raises SlideError for an image that a run would not take, ReferenceFileError for a mask that cannot be read or
    differs from the image in size.
    """
    pixels = _read_pixels(examples[0].image)
    outlined = [example for example in examples if not (example.hides or example.is_bare)]
    hiding = [example for example in examples if example.hides]
    size = pixels.shape[:2]
    numbers = [_read_mask(example, size) for example in outlined]
    masks, unknown = _mark(numbers, size), _mark([_read_mask(example, size) for example in hiding], size)
    touching = [find_borders(mask) for mask in numbers if np.unique(mask[mask > 0]).size > 1]
    hidden, borders = (np.logical_or.reduce(part, 0) if len(part) else None for part in (unknown, touching))
    absent = tuple(dict.fromkeys(name for example in examples for name in example.absent))
    layers, mpp = tuple(example.present for example in outlined), _find_mpp(examples)
    return Picture(pixels, masks, layers, None, hidden, absent, mpp, borders, examples[0].image.name)


def _find_mpp(examples: Sequence[Example]) -> float | None:
    stated = sorted({example.mpp for example in examples if example.mpp is not None})
    if len(stated) > 1:
        raise ReferenceFileError(f"{examples[0].image.name}: mpp {stated}; expected one; correct the table")
    return stated[0] if stated else None


def _read_pixels(path: Path) -> NDArray[np.uint8]:
    """What a run sees of an image, whatever its scale."""
    slide = describe_image(path, path.name, mpp=1.0)
    return ImageReader(slide).read_region(slide.levels[0].region, 0)


def _mark(masks: Sequence[NDArray[np.integer]], size: tuple[int, ...]) -> NDArray[np.bool_]:
    return _stack_masks([mask > 0 for mask in masks], size)


def _stack_masks(masks: Sequence[NDArray[np.bool_]], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Masks [L, H, W] of a size, of which there may be none."""
    return np.array(masks, np.bool_).reshape(-1, *size)


def _read_mask(example: Example, size: tuple[int, ...]) -> NDArray[np.integer]:
    """A mask's values [H, W], which may number its objects; of a coloured one 0 and 1."""
    try:
        values = read_picture(example.mask)
    except ReferenceFileError as error:
        raise ReferenceFileError(f"{example.image.name}: mask {error}") from error
    if _is_smoothed(example.mask, values):
        raise ReferenceFileError(
            f"{example.image.name}: mask {example.mask.name} has values between 0 and 255 along its edges; expected "
            "these two alone, or numbers of objects; export it without smoothing, as PNG or TIFF"
        )
    mask = np.asarray(values if values.ndim == 2 else values.any(-1), np.int64)
    if mask.shape != size:
        raise ReferenceFileError(f"{example.image.name}: image {size}, mask {mask.shape}; expected equal sizes")
    return mask


def _is_smoothed(path: Path, values: NDArray[np.integer]) -> bool:
    """Whether a mask of 0 and 255 was blurred or compressed with losses; most numbers of objects are not near 255."""
    found, counts = np.unique(values[values > 0], return_counts=True)
    if len(found) < 2:
        return False
    lossy = path.suffix.lower() in (".jpg", ".jpeg")
    return bool(lossy or (found[-1] == 255 and 2 * counts[found >= NEARLY_WHITE].sum() > counts.sum()))


def weigh_pictures(
    pictures: Sequence[Sample], boost: Mapping[str, float], bare_boost: float = 1.0
) -> NDArray[np.float64]:
    """How often to draw each picture; they sum to 1.

    A set of present targets weighs as the square root of its count, so that rare ones are seen, times the largest
    `boost` of its names; so do all that show none, times `bare_boost`.
    """
    counts = Counter(picture.present for picture in pictures)
    boosts = [max((boost.get(name, 1.0) for name in p.present), default=bare_boost) for p in pictures]
    weights = np.array([counts[p.present] ** -0.5 for p in pictures]) * boosts
    total: float = weights.sum()
    return weights / total


@dataclass(frozen=True)
class Supervision:
    """What examples say about each target, from the groups of the ontology."""

    names: tuple[str, ...]
    groups: tuple[str, ...]
    mpps: tuple[float, ...]
    """µm per pixel at which each target is asked for."""

    @classmethod
    def of(cls, ontology: Ontology) -> Supervision:
        """The columns of an ontology, in its order."""
        names, groups, mpps = zip(*((t.name, t.group, t.mpp) for t in ontology.targets), strict=True)
        return cls(names, groups, mpps)

    def mark_layers(self, layers: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
        """Which targets each mask outlines: [L, K]."""
        self._refuse_unknown({name for names in layers for name in names})
        return np.array([[name in names for name in self.names] for names in layers], bool).reshape(-1, len(self.names))

    def mark_known(self, picture: Picture) -> NDArray[np.bool_]:
        """Which targets a picture says anything about [K]."""
        if picture.known is not None:
            return np.isin(self.names, picture.known)
        self._refuse_unknown(set(picture.absent))
        groups = {group for name, group in zip(self.names, self.groups, strict=True) if name in picture.present}
        return np.isin(self.groups, sorted(groups)) | np.isin(self.names, picture.absent)

    def find_mpp(self, picture: Picture) -> float:
        """µm per pixel at which the first target is asked for that a picture shows, or else says anything about."""
        shown = np.isin(self.names, picture.present)
        return self.mpps[int((shown if shown.any() else self.mark_known(picture)).argmax())]

    def _refuse_unknown(self, names: set[str]) -> None:
        if unknown := sorted(names - set(self.names)):
            raise TargetError(
                f"examples name {unknown[0]!r}, expected one of {list(self.names)}; add it to the ontology"
            )

    def weigh_columns(self) -> NDArray[np.float32]:
        """Weights [K] by which every group counts the same in the loss, however many targets it has."""
        sizes = Counter(self.groups)
        return np.array([1 / sizes[group] for group in self.groups], np.float32)

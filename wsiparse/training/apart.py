"""Objects less where they touch, learned beside their target: what tells them apart is then seen in its mask as well.

Such a target is there while a network learns, not in what is written of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from wsiparse.ontology import Ontology, Target
from wsiparse.training.dataset import Picture


def name_apart(name: str) -> str:
    """What a target's objects less where they touch are called while they are learned."""
    return f"{name}, set apart"


def add_apart(ontology: Ontology, words: Mapping[str, str]) -> Ontology:
    """The targets, then the objects apart of those for which there are words, each a group of its own.

    Raises TargetError for words about a target that is not learned.
    """
    asked = [(ontology.find(name), prompt) for name, prompt in words.items()]
    pairs = [(target, name_apart(target.name), prompt) for target, prompt in asked]
    return Ontology((*ontology.targets, *(Target(n, prompt, n, t.color, t.mpp) for t, n, prompt in pairs)))


def drop_apart(ontology: Ontology) -> Ontology:
    """The targets without the objects apart of others."""
    apart = {column for _, column in list_parted(ontology)}
    return Ontology(tuple(target for column, target in enumerate(ontology.targets) if column not in apart))


def list_parted(ontology: Ontology) -> tuple[tuple[int, int], ...]:
    """Places in the ontology of each target whose objects are learned apart, and of those."""
    places = {target.name: place for place, target in enumerate(ontology.targets)}
    return tuple((places[name], places[name_apart(name)]) for name in places if name_apart(name) in places)


def set_apart(picture: Picture, names: Collection[str]) -> Picture:
    """The picture with one more mask for each of some targets whose objects it numbers: those less where they touch."""
    wanted = [name for name in names if name in picture.present]
    if picture.borders is None or not wanted:
        return picture
    masks = [picture.outline(name) & ~picture.borders for name in wanted]
    apart = tuple(map(name_apart, wanted))
    known = picture.known and (*picture.known, *apart)
    layers = (*picture.layers, *((name,) for name in apart))
    return replace(picture, masks=np.concatenate([picture.masks, masks]), layers=layers, known=known)

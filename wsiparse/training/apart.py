"""Objects less where they touch, learned as a target of its own beside theirs: by it a run sets them apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

import numpy as np

from wsiparse.ontology import Ontology, Target
from wsiparse.training.dataset import Picture


def name_apart(target: Target) -> str:
    """What a target's objects less where they touch are called while they are learned."""
    return f"{target.name} apart"


def add_apart(ontology: Ontology) -> Ontology:
    """The targets, then for those that name words for it their objects apart, each a group of its own."""
    named = [(target, name_apart(target)) for target in ontology.targets if target.apart]
    return Ontology((*ontology.targets, *(Target(n, t.apart, n, t.color, t.mpp) for t, n in named)))


def keep_taught(ontology: Ontology, taught: Collection[str]) -> Ontology:
    """The targets, of those apart only what some picture shows."""
    apart = {name_apart(target) for target in ontology.targets}
    return Ontology(tuple(t for t in ontology.targets if t.name in taught or t.name not in apart))


def drop_apart(ontology: Ontology) -> Ontology:
    """The targets as a run asks for them; words for their objects apart remain where `ontology` lists those."""
    names = {target.name for target in ontology.targets}
    apart = {name_apart(target) for target in ontology.targets}
    kept = [target for target in ontology.targets if target.name not in apart]
    return Ontology(tuple(t if name_apart(t) in names else replace(t, apart="") for t in kept))


def list_parted(ontology: Ontology) -> tuple[tuple[int, int], ...]:
    """Places in the ontology of each target whose objects are learned apart, and of those."""
    places = {target.name: place for place, target in enumerate(ontology.targets)}
    return tuple((places[t.name], places[name_apart(t)]) for t in ontology.targets if name_apart(t) in places)


def set_apart(picture: Picture, targets: Iterable[Target]) -> Picture:
    """The picture with one more mask a target whose objects are numbered: those less where they touch."""
    wanted = [target for target in targets if target.apart and target.name in picture.present]
    if picture.borders is None or not wanted:
        return picture
    masks = [picture.outline(target.name) & ~picture.borders for target in wanted]
    names = tuple(map(name_apart, wanted))
    known = picture.known and (*picture.known, *names)
    layers = (*picture.layers, *((name,) for name in names))
    return replace(picture, masks=np.concatenate([picture.masks, masks]), layers=layers, known=known)

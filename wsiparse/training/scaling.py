"""Images of a known scale, brought to those at which a run will ask for what they show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from wsiparse.errors import InputError
from wsiparse.ontology import Ontology, Target
from wsiparse.tiles.plan import MOST_MAGNIFIED
from wsiparse.training.dataset import Picture, Supervision


def find_mpp(picture: Picture, mpps: Mapping[str, float]) -> float | None:
    """µm per pixel of a picture: its own, or that of images with what it shows; None where nobody says it.

    Raises InputError where what it shows says different things.
    """
    stated = {mpps[name]: name for name in picture.present + picture.absent if name in mpps}
    if picture.mpp is None and len(stated) > 1:
        raise InputError(
            f"an image shows {' and '.join(map(repr, stated.values()))}, whose images have different mpp "
            f"({', '.join(map(str, stated))}); give the mpp of one of them, or that of the image in the table"
        )
    return picture.mpp or next(iter(stated), None)


def scale_picture(picture: Picture, ontology: Ontology, mpps: Mapping[str, float]) -> list[Picture]:
    """The picture at the working mpp of each target of which it says anything; as it is where its scale is unknown.

    Targets that are asked for at different scales are learned from one picture each, as a run has a pass for each.
    Raises InputError where it would be magnified more than `MOST_MAGNIFIED` times.
    """
    mpp = find_mpp(picture, mpps)
    if mpp is None:
        return [picture]
    known = np.flatnonzero(Supervision.of(ontology).mark_known(picture))
    names: dict[float, list[str]] = defaultdict(list)
    for target in (ontology.targets[index] for index in known):
        _refuse_slip(mpp, target)
        names[mpp / target.mpp].append(target.name)
    parts = [picture.select(some) for some in names.values()] if len(names) > 1 else [picture]
    return [part if scale == 1.0 else part.resize(scale) for part, scale in zip(parts, names, strict=True)]


def _refuse_slip(mpp: float, target: Target) -> None:
    if mpp / target.mpp > MOST_MAGNIFIED:
        raise InputError(
            f"an image of {mpp:g} µm per pixel shows {target.name!r}, which is looked for at {target.mpp:g}; expected "
            f"at most {MOST_MAGNIFIED:g} times that; correct the image's mpp, which is no magnification"
        )

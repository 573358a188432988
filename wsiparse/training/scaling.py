"""Images of a known scale, brought to the one at which a run will ask for what they show."""

from __future__ import annotations

from collections.abc import Mapping

from wsiparse.errors import InputError
from wsiparse.ontology import Ontology
from wsiparse.training.dataset import Picture


def find_scales(ontology: Ontology, mpps: Mapping[str, float]) -> dict[str, float]:
    """For each target whose images' µm per pixel are known, how much larger they must be at its working mpp."""
    return {target.name: mpp / target.mpp for target, mpp in ((ontology.find(n), m) for n, m in mpps.items())}


def scale_picture(picture: Picture, scales: Mapping[str, float]) -> Picture:
    """The picture at the working mpp of what it shows or is known not to, or as it is where its scale is unknown.

    Raises InputError for a picture of targets that ask for different scales.
    """
    wanted = {scales[name]: name for name in picture.present + picture.absent if name in scales}
    if len(wanted) > 1:
        raise InputError(
            f"an image shows {' and '.join(map(repr, wanted.values()))}, which by mpp and working mpp ask for it in "
            "different sizes; give the mpp of one of them"
        )
    return picture.resize(*wanted) if wanted and 1.0 not in wanted else picture

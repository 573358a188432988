from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wsiparse.errors import TargetError
from wsiparse.ontology import Ontology, Target
from wsiparse.training.apart import add_apart, drop_apart, list_parted, set_apart
from wsiparse.training.dataset import Picture, load_picture
from wsiparse.training.examples import Example

CELLS = Target("cells", "cells in pathology", "cells", (1, 2, 3), 0.5, instances=True)
TISSUE = Target("tissue", "tissue", "tissue", (9, 2, 3), 2.0)
ONTOLOGY = Ontology((CELLS, TISSUE))
WORDS = {"cells": "cells set apart"}


def load(tmp_path: Path, values: NDArray[np.uint8]) -> Picture:
    """The picture of a mask that outlines cells."""
    Image.fromarray(np.zeros((*values.shape[:2], 3), np.uint8)).save(tmp_path / "image.png")
    Image.fromarray(values).save(tmp_path / "mask.png")
    return load_picture(Example(tmp_path / "image.png", tmp_path / "mask.png", ("cells",), "case", "train"))


def number_two() -> NDArray[np.uint8]:
    values = np.zeros((20, 20), np.uint8)
    values[4:16, 2:10], values[4:16, 10:18] = 1, 2
    return values


def test_objects_apart_are_learned_as_a_target_of_their_own_and_written_as_none() -> None:
    learned = add_apart(ONTOLOGY, WORDS)
    apart = learned.find("cells, set apart")
    assert (apart.prompt, apart.mpp) == ("cells set apart", 0.5)
    assert apart.group not in {"cells", "tissue"}
    assert drop_apart(learned) == ONTOLOGY
    assert list_parted(learned) == ((0, 2),)
    assert list_parted(ONTOLOGY) == ()


def test_words_about_what_is_not_learned_are_refused() -> None:
    with pytest.raises(TargetError, match="rods"):
        add_apart(ONTOLOGY, {"rods": "rods set apart"})


def test_a_mask_that_numbers_its_objects_shows_them_apart(tmp_path: Path) -> None:
    picture = set_apart(load(tmp_path, number_two()), WORDS)
    assert picture.layers == (("cells",), ("cells, set apart",))
    assert np.array_equal(picture.masks[0], number_two() > 0)
    assert np.flatnonzero(picture.masks[1].any(0)).tolist() == [*range(2, 8), *range(12, 18)]
    assert picture.resize(2).masks.shape == (2, 40, 40)


@pytest.mark.parametrize("values", [np.minimum(number_two(), 1) * 255, number_two()[..., None] * [1, 2, 1]])
def test_a_mask_of_one_value_or_of_colours_does_not_tell_objects_apart(
    tmp_path: Path, values: NDArray[np.uint8]
) -> None:
    picture = load(tmp_path, values.astype(np.uint8))
    assert set_apart(picture, WORDS) is picture


def test_objects_that_nobody_asks_apart_are_not_outlined_so(tmp_path: Path) -> None:
    picture = load(tmp_path, number_two())
    assert set_apart(picture, ()) is picture
    assert set_apart(picture, ("tissue",)) is picture

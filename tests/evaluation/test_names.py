from __future__ import annotations

import pytest

from wsiparse.errors import TargetError
from wsiparse.evaluation.names import TargetNames
from wsiparse.ontology import Ontology, Target, load_ontology


@pytest.mark.parametrize(
    "name",
    [
        "low-grade_intraepithelial_neoplasia",
        "Low grade intraepithelial neoplasia",
        "low_grade_dysplasia",
        "LOW-GRADE-IN",
        "low-grade intraepithelial neoplasia in colon pathology",
    ],
)
def test_a_name_may_part_its_words_as_it_likes(name: str) -> None:
    ontology = load_ontology("open-1")
    assert TargetNames(ontology, ()).resolve(name) == "low-grade intraepithelial neoplasia"


def test_a_name_that_might_be_of_two_targets_is_of_none() -> None:
    ontology = Ontology(tuple(Target(name, name, "group", (1, 2, 3), 0.5) for name in ("b cell", "b-cell", "t cell")))
    names = TargetNames(ontology, ())
    assert [names.resolve(name) for name in ("b cell", "B-Cell", "t_cell")] == ["b cell", "b-cell", "t cell"]
    with pytest.raises(TargetError, match="unknown target 'b_cell'"):
        names.resolve("b_cell")

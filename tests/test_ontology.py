from __future__ import annotations

from pathlib import Path

import pytest

from wsiparse.errors import InputError, TargetError
from wsiparse.ontology import Ontology, Target, load_ontology

GLAND = Target(
    "glandular structure", "glandular structure in colon pathology", "gland", (200, 100, 0), 1.5, synonyms=("gland",)
)
NUCLEI = Target("nuclei", "nuclei in pathology", "nuclei", (0, 0, 200), 0.5, instances=True)
ONTOLOGY = Ontology((GLAND, NUCLEI))


@pytest.mark.parametrize("text", ["Glandular  Structure", "GLAND", "glandular structure in colon pathology"])
def test_name_synonym_and_prompt_find_the_same_target(text: str) -> None:
    assert ONTOLOGY.find(text) is GLAND


def test_an_unknown_target_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(TargetError, match="unknown target 'nucleus'; nearest: nuclei"):
        ONTOLOGY.find("nucleus")


def test_a_twin_name_is_refused() -> None:
    with pytest.raises(InputError, match="defined twice"):
        Ontology((GLAND, GLAND))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("name = 'a:b'", "without ':'"),
        ("name = 'a'\ncolor = [1, 2]", "colour"),
        ("name = 'a'\nmpp = 0", "mpp"),
        ("name = 'a'\nthreshold = 1.5", "threshold"),
        ("name = 'a'\nsize = 3", "unknown key 'size'"),
    ],
)
def test_a_wrong_entry_is_named_in_one_line(tmp_path: Path, change: str, message: str) -> None:
    rest = {"prompt": "'p'", "group": "'g'", "color": "[1, 2, 3]", "mpp": "0.5"}
    text = "\n".join([change, *(f"{key} = {value}" for key, value in rest.items() if f"{key} =" not in change)])
    (tmp_path / "o.toml").write_text(f"[[target]]\n{text}\n")
    with pytest.raises(InputError, match=message) as caught:
        load_ontology(tmp_path / "o.toml")
    assert "\n" not in str(caught.value)


def test_the_digest_follows_what_the_targets_say() -> None:
    assert ONTOLOGY.digest == Ontology((GLAND, NUCLEI)).digest
    assert ONTOLOGY.digest != Ontology((GLAND,)).digest

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.errors import InputError, TargetError
from wsiparse.ontology import QUPATH_COLORS, Ontology, Target, load_ontology, take_site

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
    ("name", "prompt", "synonyms"),
    [
        ("Gland", "tumor", ()),
        ("tumor", "Glandular  structure", ()),
        ("tumor", "tumor", ("GLAND",)),
        ("tumor", "tumor", ("glandular structure in  colon pathology",)),
        ("tumor", "[object] in [site] pathology", ("gland",)),
    ],
)
def test_words_that_ask_for_two_targets_are_refused(name: str, prompt: str, synonyms: tuple[str, ...]) -> None:
    tumor = Target(name, prompt, "tumor", (200, 0, 0), 1.0, synonyms=synonyms, sites=("colon",))
    for targets in ((GLAND, tumor), (tumor, GLAND)):
        with pytest.raises(InputError, match="asks for"):
            Ontology(targets)


def test_a_name_of_several_blanks_is_found() -> None:
    spaced = dataclasses.replace(NUCLEI, name="small  nuclei")
    assert Ontology((spaced,)).find("Small nuclei") is spaced


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("name = 'a:b'", "without ':'"),
        ("name = 'a'\ncolor = [1, 2]", "color"),
        ("name = 'a'\nmpp = 0", "mpp"),
        ("name = 'a'\nthreshold = 1.5", "threshold"),
        ("name = 'a'\nsize = 3", "unknown key 'size'"),
        ("name = 'a'\nfield_um = -1", "field_um"),
        ("name = 'a'\ncategory = 'tissue'", "expected one of organ, abnormality, histology"),
        ("name = ['a']", "name is"),
        ("name = ' '", "name is ' ', expected text"),
        ("name = 'a'\nprompt = ''", "target 'a': prompt is '', expected text"),
        ("name = 'a'\ngroup = 3", "group is 3, expected text"),
        ("name = 'a'\nmpp = '0.5'", "mpp is '0.5', expected a number"),
        ("name = 'a'\ncolor = [true, 0, 0]", "color is .*, expected three integers"),
        ("name = 'a'\nmin_area_um2 = nan", "min_area_um2 is nan, expected a number, 0 or above"),
        ("name = 'a'\nmin_area_um2 = -1", "min_area_um2 is -1"),
        ("name = 'a'\ninstances = 'false'", "instances is 'false', expected true or false"),
        ("name = 'a'\nsynonyms = 'black disc'", "synonyms is 'black disc', expected a list of texts"),
        ("name = 'a'\nsites = [1]", "sites is .*, expected a list of texts"),
    ],
)
def test_a_wrong_entry_is_named_in_one_line(tmp_path: Path, change: str, message: str) -> None:
    rest = {"prompt": "'p'", "group": "'g'", "color": "[1, 2, 3]", "mpp": "0.5"}
    text = "\n".join([change, *(f"{key} = {value}" for key, value in rest.items() if f"{key} =" not in change)])
    (tmp_path / "o.toml").write_text(f"[[target]]\n{text}\n")
    with pytest.raises(InputError, match=message) as caught:
        load_ontology(tmp_path / "o.toml")
    assert str(caught.value).startswith(f"{tmp_path / 'o.toml'}: target")
    assert "\n" not in str(caught.value)


def test_the_digest_follows_what_the_targets_say() -> None:
    assert ONTOLOGY.digest == Ontology((GLAND, NUCLEI)).digest
    assert ONTOLOGY.digest != Ontology((GLAND,)).digest


PUBLISHED = load_ontology("pathology")


def write_ontology(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_published_leaves_carry_layers_sites_scale_and_field() -> None:
    assert len(PUBLISHED.targets) == 8
    assert {(target.category, target.meta) for target in PUBLISHED.targets} == {("histology", "histology structure")}
    cells, gland = PUBLISHED.find("neoplastic cells"), PUBLISHED.find("glandular structure")
    assert (cells.mpp, cells.field_um, len(cells.sites)) == (0.25, 64, 19)
    assert (gland.mpp, gland.field_um, gland.sites) == (0.62, 480, ("colon",))
    assert cells.color == QUPATH_COLORS["Tumor"]


def test_a_site_fills_the_prompt_and_none_leaves_the_name() -> None:
    cells = PUBLISHED.find("neoplastic cells")
    assert cells.at_site("breast").prompt == "neoplastic cells in breast pathology"
    assert cells.at_site(None).prompt == "neoplastic cells"
    assert GLAND.at_site("breast") is GLAND


@pytest.mark.parametrize("text", ["neoplastic cells in breast pathology", "Cancerous cells in  breast pathology"])
def test_a_prompt_that_names_a_site_is_told_for_it(text: str) -> None:
    assert PUBLISHED.find(text) == PUBLISHED.find("neoplastic cells").at_site("breast")


def test_a_site_takes_the_targets_that_are_looked_for_there() -> None:
    names = [target.name for target in take_site(PUBLISHED.targets, "colon")]
    assert "glandular structure" in names
    assert "breast cancer cells" not in names
    assert take_site((GLAND, NUCLEI), "anywhere") == (GLAND, NUCLEI)
    with pytest.raises(TargetError, match=r"site 'pancreas'.*nearest: pancreatic"):
        take_site(PUBLISHED.targets, "pancreas")


@pytest.mark.parametrize("group", ["Gland", "gland ", "gland"])
def test_a_group_in_two_spellings_is_refused(tmp_path: Path, group: str) -> None:
    stroma = f"[[target]]\nname = 'stroma'\nprompt = 'stroma'\ngroup = '{group}'\ncolor = 'Stroma'\nmpp = 1"
    path = write_ontology(tmp_path / "o.toml", f"extends = 'open-1'\n{stroma}")
    if group == "gland":
        assert load_ontology(path).find("stroma").group == load_ontology("open-1").find("gland").group
        return
    with pytest.raises(InputError, match=rf"groups 'gland' and '{group}' differ in capitals or blanks alone"):
        load_ontology(path)


def test_an_ontology_extends_another_and_changes_only_what_it_says(tmp_path: Path) -> None:
    text = """
        extends = "pathology"
        template = "[object] in [site] pathology"
        [[target]]
        name = "Neoplastic cells"
        threshold = 0.7
        [[target]]
        name = "mitoses"
        group = "mitosis"
        color = "Necrosis"
        mpp = 0.25
    """
    own = load_ontology(write_ontology(tmp_path / "own.toml", text))
    changed, added = own.find("neoplastic cells"), own.targets[-1]
    base = PUBLISHED.find("neoplastic cells")
    assert changed == dataclasses.replace(base, name="Neoplastic cells", threshold=0.7)
    assert (added.prompt, added.color) == ("mitoses in [site] pathology", (50, 50, 50))
    assert len(own.targets) == len(PUBLISHED.targets) + 1
    further = load_ontology(write_ontology(tmp_path / "further.toml", 'extends = "own.toml"'))
    assert further == own


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "o.toml"', "extends itself"),
        ('extends = "a/../o.toml"', "extends itself"),
        ("", r"no target in it; expected a \[\[target\]\] table"),
        ('extends = "radiology"', "expected one of open-1, pathology"),
        ("targets = []", "unknown key 'targets'"),
        ("[[target]]\nname = 'a'\n[[target]]\nname = 'A'", "'a' is defined twice"),
        ("[[target]]\nname = 'a'\ncolor = 'Teal'", "color 'Teal', expected Tumor"),
        ("[[target]]\nname = 'a'", "'a' lacks 'prompt'"),
        ("[target]\nname = 'a'", r"write \[\[target\]\], in two brackets"),
        ("target = ['a']", r"write \[\[target\]\]"),
        ("extends = 5", "extends is 5, expected text"),
        ("template = ''", "template is '', expected text"),
    ],
)
def test_a_wrong_ontology_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match=message) as caught:
        load_ontology(write_ontology(tmp_path / "o.toml", text))
    assert "\n" not in str(caught.value)


def test_a_file_that_windows_marked_as_utf_8_is_read(tmp_path: Path) -> None:
    (tmp_path / "o.toml").write_text('extends = "pathology"', encoding="utf-8-sig")
    assert load_ontology(tmp_path / "o.toml") == PUBLISHED


@given(st.sampled_from(PUBLISHED.targets), st.data())
def test_every_wording_finds_its_target(target: Target, data: st.DataObject) -> None:
    site = data.draw(st.sampled_from([None, *target.sites]))
    found = PUBLISHED.find(data.draw(st.sampled_from(target.wordings(site))).upper())
    assert found.name == target.name
    assert found.prompt in {target.prompt, target.at_site(site).prompt}
